
function Add-Record($Kind, $Identity, $Setting, $Value) {
    $rows = @(Read-Record)
    foreach ($row in $rows) {
        if ($row.Kind -eq $Kind -and $row.Identity -eq $Identity -and $row.Setting -in @($Setting, 'made')) { return }
    }
    $rows += [pscustomobject]@{ Kind = $Kind; Identity = $Identity; Setting = $Setting; Value = $Value }
    $rows | Export-Clixml $Record
}

function Show-Value($Setting, $Value) {
    if ($Setting -eq 'SetHeaderValue') { return 'a secret' }
    "'$(Format-Value $Value)'"
}

# Show-Unset tells of a choice that nobody has made in this script.
function Show-Unset($Name) {
    Write-Host ('= $' + $Name + ' is not set: what stands there stays')
}

# Test-Seen says whether Exchange Online tells of what was made. That may take it some minutes.
function Test-Seen($Kind, $Name) {
    if (-not $Apply -or (Find-One $Kind 'Name' $Name)) { return $true }
    Write-Host "! $Kind '$Name' was made, and is not told yet: run this again in some minutes, for what is still missing"
    return $false
}

# What Exchange Online takes only together with another setting.
$together = @{
    SetHeaderName = 'SetHeaderValue'
    SetHeaderValue = 'SetHeaderName'
    HeaderContainsWords = 'HeaderContainsMessageHeader'
    HeaderMatchesPatterns = 'HeaderMatchesMessageHeader'
    ExceptIfHeaderMatchesPatterns = 'ExceptIfHeaderMatchesMessageHeader'
    TlsSettings = 'TlsDomain'
    TlsDomain = 'TlsSettings'
    UseMXRecord = 'SmartHosts'
}

# Set-Found changes what differs, and only that.
function Set-Found($Kind, $Have, $Wanted) {
    $changes = [ordered]@{}
    foreach ($setting in @($Wanted.Keys)) {
        if ((Format-Value $Have.$setting) -ne (Format-Value $Wanted[$setting])) {
            Write-Host "~ $Kind '$($Have.Identity)': $setting is $(Show-Value $setting $Have.$setting), and becomes $(Show-Value $setting $Wanted[$setting])"
            $changes[$setting] = $Wanted[$setting]
        }
    }
    if ($changes.Count -eq 0) {
        Write-Host "= $Kind '$($Have.Identity)'"
        return
    }
    if (-not $Apply) { return }
    $at = Select-One $Kind $Have.Identity
    foreach ($setting in @($changes.Keys)) {
        if ($Have.Name -notlike 'coexistd *') { Add-Record $Kind $Have.Identity $setting $Have.$setting }
        $other = $together[$setting]
        if ($other -and $other -notin @($changes.Keys)) {
            $changes[$other] = $Have.$other
            if ($other -in @($Wanted.Keys)) { $changes[$other] = $Wanted[$other] }
        }
    }
    & "Set-$Kind" @at @changes | Out-Null
}

# Set-Wanted makes what is missing with the settings of both tables, and changes what differs
# from the second. What may not be made has $null for the first. What is made is called $Called.
function Set-Wanted($Kind, $By, $Name, $New, $Wanted, $Called = $Name) {
    $have = Find-One $Kind $By $Name
    if ($null -ne $have) {
        Set-Found $Kind $have $Wanted
        if ($have.State -eq 'Disabled' -or ($Kind -eq 'JournalRule' -and -not $have.Enabled)) {
            Write-Host "~ $Kind '$Name' is switched on"
            if ($Apply) { & "Enable-$Kind" -Identity $have.Identity | Out-Null }
        }
        return
    }
    if ($null -eq $New) {
        Write-Host "! $Kind '$Name' is missing, and has to be added in the admin center first"
        if ($Apply) { throw "$Kind '$Name' is missing" }
        return
    }
    Write-Host "+ $Kind '$Name' is made"
    $given = @{}
    foreach ($setting in @($Wanted.Keys)) {
        Write-Host "    $setting $(Show-Value $setting $Wanted[$setting])"
        if ($null -ne $Wanted[$setting]) { $given[$setting] = $Wanted[$setting] }
    }
    if (-not $Apply) { return }
    Add-Record $Kind $Called 'made' $null
    if ($Kind -ne 'RemoteDomain') {
        & "New-$Kind" -Name $Called @New @given | Out-Null
        return
    }
    & "New-$Kind" -Name $Called @New | Out-Null
    if (Test-Seen $Kind $Called) { & "Set-$Kind" -Identity $Called @given | Out-Null }
}
