
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
