# What was before is kept in the file $Record, so that it can be put back.
function Read-Record {
    if (Test-Path $Record) { Import-Clixml $Record }
}

function Find-One($Kind, $By, $Name) {
    if (-not $By) { return & "Get-$Kind" }
    if ($By -eq 'Identity') { return & "Get-$Kind" -Identity $Name -ErrorAction SilentlyContinue }
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
