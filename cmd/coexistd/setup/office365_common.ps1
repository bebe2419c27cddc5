# What was before is kept in the file $Record, so that it can be put back.
function Read-Record {
    if (Test-Path $Record) { Import-Clixml $Record }
}

# Test-Kind says whether this account may look at objects of that kind. It has no cmdlets for what
# its roles do not let it see.
function Test-Kind($Kind) {
    if (Get-Command "Get-$Kind" -ErrorAction SilentlyContinue) { return $true }
    Write-Host "! $Kind was not looked at: the roles of this account give it no Get-$Kind"
    $Missing[$Kind] = $true
    return $false
}

function Find-One($Kind, $By, $Name) {
    if (-not $By) { return & "Get-$Kind" }
    if ($By -eq 'Identity') { return & "Get-$Kind" -Identity $Name -ErrorAction SilentlyContinue }
    & "Get-$Kind" | Where-Object { $_.$By -eq $Name } | Select-Object -First 1
}

# Values as they are compared: lists in order, and without what Exchange writes around them.
function Format-Value($Value) {
    $texts = foreach ($one in @($Value)) { "$one" -replace '^smtp:(.*?)(;\d+)?$', '$1' -replace '^\[(.*)\]$', '$1' }
    @($texts | Sort-Object) -join ', '
}

# Remove-Ours removes what was made under that name.
function Remove-Ours($Kind, $Name) {
    if (-not (Test-Kind $Kind)) { return }
    $have = Find-One $Kind 'Name' $Name
    if ($null -eq $have) {
        Write-Host "= $Kind '$Name' is not there"
        return
    }
    Write-Host "- $Kind '$Name' is removed"
    if ($Apply) { & "Remove-$Kind" -Identity $have.Identity -Confirm:$false | Out-Null }
}

# Select-One has the parameters by which Set-... finds an object. Groups have owners, whom an
# administrator may change without being one.
function Select-One($Kind, $Identity) {
    $at = @{ Identity = $Identity }
    if ($Kind -eq 'DistributionGroup') { $at.BypassSecurityGroupManagerCheck = $true }
    if ($Kind -in @('OrganizationConfig', 'TransportConfig')) { $at = @{} }
    return $at
}

# Restore-One puts back an object's settings, at one go, where they are not as they were.
function Restore-One($Kind, $Identity, $Rows) {
    $by = 'Identity'
    if ($Kind -in @('OrganizationConfig', 'TransportConfig')) { $by = $null }
    $have = Find-One $Kind $by $Identity
    if ($null -eq $have) {
        Write-Host "! $Kind '$Identity' is not there any more"
        return
    }
    $before = [ordered]@{}
    foreach ($row in $Rows) {
        $setting = $row.Setting
        $value = Format-Value $row.Value
        if ((Format-Value $have.$setting) -eq $value) {
            Write-Host "= $Kind '$Identity': $setting is '$value', as it was"
        } else {
            Write-Host "~ $Kind '$Identity': $setting becomes '$value', as it was"
            $before[$setting] = $row.Value
        }
    }
    $at = Select-One $Kind $Identity
    if ($Apply -and $before.Count -gt 0) { & "Set-$Kind" @at @before | Out-Null }
}

# Restore-Before puts back what the settings of that kind were before, but of the objects in
# $But, and forgets it.
function Restore-Before($Kind, $But = @()) {
    $all = @(Read-Record)
    $rows = @($all | Where-Object { $_.Kind -eq $Kind -and $_.Setting -ne 'made' -and $_.Identity -notin $But })
    if ($rows.Count -eq 0) {
        Write-Host "= $Kind : nothing is recorded that would be put back"
        return
    }
    if (-not (Test-Kind $Kind)) { return }
    foreach ($identity in @($rows | ForEach-Object { $_.Identity } | Sort-Object -Unique)) {
        Restore-One $Kind $identity @($rows | Where-Object { $_.Identity -eq $identity })
    }
    if ($Apply) {
        @($all | Where-Object { $_.Kind -ne $Kind -or $_.Setting -eq 'made' -or $_.Identity -in $But }) | Export-Clixml $Record
    }
}
