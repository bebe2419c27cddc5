package attachments

import (
	"slices"
	"strings"
)

// usualExtensions are those that are blocked when nothing else is said: the union of the
// lists that senders meet anyway, and what has been used since.
//
// They are not the lists' whole. Left out are what people do send and what does nothing by
// itself: certificates (cer, crt, der), the data of MATLAB (mat, also a shortcut of Access),
// sources of Python (py), tmp; and documents with macros, for which Rules.Macros stands.
var usualExtensions = slices.Concat(
	// The common attachments filter of Exchange Online, its default file types in May 2025:
	// learn.microsoft.com/defender-office-365/anti-malware-protection-about.
	strings.Fields(`
		ace ani apk app appx arj bat cab cmd com deb dex dll elf exe hta img iso jar jnlp kext
		lha lib library lnk lzh macho msc msi msix msp mst pif ppa reg rev scf scr sct sys uif
		vb vbe vbs vxd wsc wsf wsh xll xz z`),
	// Blocked attachments in Outlook: support.microsoft.com/office/blocked-attachments-in-outlook.
	strings.Fields(`
		ade adp appcontent-ms application appref-ms asp aspx bas bgi cdxml chm class cnt cpl crx csh
		desktop diagcab fxp gadget grp hlp hpj htc inf ins isp its js jse ksh library-ms
		mad maf mag mam maq mar mas mau mav maw mcf mda mdb mde mdt mdw mdz
		msh msh1 msh1xml msh2 msh2xml mshxml msu ocx ops osd pcd pl plg prf prg printerexport
		ps1 ps1xml ps2 ps2xml psc1 psc2 psd1 psdm1 psm1 pssc pst pyc pyo pyw pyz pyzw
		search-ms settingcontent-ms shb shs theme themepack udl url vbp vhd vhdx vsmacros vsw
		webpnp website wll ws xbap xnk`),
	// File types blocked in Gmail: support.google.com/mail/answer/6590.
	strings.Fields("appxbundle diagcfg diagpkg dmg ex ex_ mjs msixbundle nsh"),
	// Programs, scripts and containers of them that are on none of these lists: pages that run
	// (mht), packages, what Excel fetches (iqy and the like), what the Mac runs (command and the
	// like), disk images, sessions that are opened elsewhere (rdp), notebooks with files (one).
	strings.Fields(`
		a3x accde action ahk appinstaller applescript au3 command dqy inetloc iqy mht mhtml one
		oqy pkg ppkg qcow2 rdp rpm rqy scpt sh slk terminal udf vmdk vsto wim workflow wsb xla xlm`),
)
