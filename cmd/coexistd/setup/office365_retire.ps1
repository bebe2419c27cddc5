function Read-Record {
    if (Test-Path $Record) { Import-Clixml $Record }
}

function Find-One($Kind, $By, $Name) {
    if (-not $By) { return & "Get-$Kind" }
    & "Get-$Kind" | Where-Object { $_.$By -eq $Name } | Select-Object -First 1
}

# Remove-Ours removes what was made under that name.
function Remove-Ours($Kind, $Name) {
    $have = Find-One $Kind 'Name' $Name
    if ($null -eq $have) {
        Write-Host "= $Kind '$Name' is not there"
        return
    }
    Write-Host "- $Kind '$Name' is removed"
    if ($Apply) { & "Remove-$Kind" -Identity $have.Identity -Confirm:$false | Out-Null }
}

# Restore-Before puts back what the settings of that kind were before.
function Restore-Before($Kind) {
    foreach ($row in @(Read-Record)) {
        if ($row.Kind -ne $Kind -or $row.Setting -eq 'made') { continue }
        $at = @{}
        if ($Kind -notin @('OrganizationConfig', 'TransportConfig')) { $at.Identity = $row.Identity }
        $setting = $row.Setting
        $before = @{}
        $before[$setting] = $row.Value
        Write-Host "~ $Kind '$($row.Identity)': $setting becomes '$($row.Value)', as it was"
        if ($Apply) { & "Set-$Kind" @at @before | Out-Null }
    }
}
