package verdict

// Code names a reason. It is stable: logs, metrics and programs may go by it.
type Code string

// entry is what the catalogue holds of a reason. See Reason.fill for the texts.
type entry struct {
	// reply is what the SMTP client is told; zero: nothing. rfc is what asks for its
	// codes, and when says for the documentation when it is given.
	reply     Reply
	rfc, when string
	// why is the sentence for the log. Empty: it is that of the reply.
	why string
}

// catalogue holds every reason, and so every reply that coexistd can give.
var catalogue = map[Code]entry{}

// says makes a reason that only the log tells.
func says(code Code, why string) Code {
	catalogue[code] = entry{why: why}
	return code
}

// answers makes a reason that the SMTP client is told as well.
func answers(code Code, reply int, enhanced, text, rfc, when, why string) Code {
	catalogue[code] = entry{Reply{reply, enhanced, text}, rfc, when, why}
	return code
}

// The reasons.
var (
	// Where a message enters.
	EnteredOnHost         = says("entered-on-host", "the message was made on this host")
	EnteredByListener     = says("entered-by-listener", "the listener is {0}")
	EnteredByLogin        = says("entered-by-login", "the client is logged in as {u0}")
	EnteredByOurNetworks  = says("entered-by-our-networks", "the client {client} is in our_networks")
	EnteredByCertificate  = says("entered-by-certificate", "the client has the certificate of {u0}")
	EnteredByPlatform     = says("entered-by-platform", "the client {client} is in the networks of {0}")
	EnteredByStranger     = says("entered-by-stranger", "the client {client} is neither ours nor a platform's")
	EnteredWithoutAddress = says("entered-without-address", "the client has no address")
	EnteredByUpstream     = says("entered-by-upstream", "the client {client} is of the upstream {0}, of whose client the MTA was not told")
	EnteredThrough        = says("entered-through", "it came through {0} ({client})")
	NetworksNotKnown      = answers("networks-not-known", 451, "4.3.0", "The mail system is not ready, try again later",
		"RFC 3463 section 3.4", "a platform's or an upstream's networks are not known yet", "the networks of {0} are not known yet")

	// Whom an upstream has a message from.
	HandedFrom     = says("handed-from", "{0} has it from {client}")
	HandedUnread   = says("handed-unread", "whom {0} has it from is not known: its Received field, the number {1}, cannot be read: {q2}")
	HandedWithin   = says("handed-within", "whom {0} has it from is not known: its Received field names {1}, which is no client's address; if it is its own, name it in upstream.{0}.inner")
	HandedByNobody = says("handed-by-nobody", "whom {0} has it from is not known: {1} Received fields were read, and none of them names a client")

	// The proof of a tenant.
	TenantNamed         = says("tenant-named", "{0} names our tenant")
	SecretHeld          = says("secret-held", "{0} holds the secret")
	CertificateShown    = says("certificate-shown", "the client's certificate is that of {0}")
	SignaturePasses     = says("signature-passes", "a signature of {0} passes")
	ProofLacks          = says("proof-lacks", "the message lacks {0}")
	ProofRepeated       = says("proof-repeated", "the message has {1} headers {0}")
	TenantForeign       = says("tenant-foreign", "{0} names another tenant")
	SecretWrong         = says("secret-wrong", "{0} does not hold the secret")
	CertificateLacks    = says("certificate-lacks", "the client has no certificate that the MTA trusts")
	CertificateForeign  = says("certificate-foreign", "the client's certificate is not that of {0}")
	SignatureLacks      = says("signature-lacks", "no signature is one of {=0}")
	SignatureFails      = says("signature-fails", "the signature of {0} does not pass but is {1}")
	ProofNotConfigured  = says("proof-not-configured", "no proof of the tenant is configured for {0}")
	CountsAsInternet    = says("counts-as-internet", ": the message counts as S0")
	SignaturesNotLooked = says("signatures-not-looked-at", "signatures are not verified here, and a daemon may find one that proves the tenant")

	JournalReport = says("journal-report", "it is a report of {0} to the archive, and is not checked")

	// What spares a message checks.
	PassOfOurs     = says("pass-of-ours", "this is a mail of our own")
	PassOfRelease  = says("pass-of-release", "released from quarantine as {0}")
	SparedByOurs   = says("spared-by-ours", "{0} is passed by: this is a mail of our own")
	SparedByPass   = says("spared-by-pass", "{0} is passed by: released from quarantine as {1}")
	SparedByAllow  = says("spared-by-allow", "{0} is passed by: {u1} allows it")
	SparedBySender = says("spared-by-sender", "{0} is passed by: {1} has allowed {2}, which SPF or DKIM proves")
	ByCheck        = says("by-check", "{0}:")
	Reported       = says("reported", "{=0}")
	SpamByPlatform = says("spam-by-platform", "{0} holds it for spam ({1})")
	SenderBlocked  = says("sender-blocked", "{0} has blocked {1}")
	CheckNotMade   = says("check-not-made", "the check was not made")
	LoopingBounce  = says("looping-bounce", "a looping bounce is dropped")
	ProbeCameBack  = says("probe-came-back", "a probe of coexistd's own ({0}) came back: it is dropped, and nobody gets it")
	LeftToMTA      = says("left-to-mta", "left to the MTA to bounce")

	// Where a recipient lives.
	Listed            = says("listed", "the directory says that {0} lives at {1}")
	ListedHere        = says("listed-here", "the directory says that {0} lives here")
	ListedBoth        = says("listed-both", "the directory says that {0} lives at both (here and {1})")
	UnlistedLives     = says("unlisted-lives", "the directory lacks {0}, and unlisted addresses of {1} live at {2}")
	UnlistedLivesHere = says("unlisted-lives-here", "the directory lacks {0}, and unlisted addresses of {1} live here")
	UnlistedLivesBoth = says("unlisted-lives-both", "the directory lacks {0}, and unlisted addresses of {1} live at both (here and {2})")
	AddressThere      = says("address-there", "{0} is an address at {1}")
	AlwaysAccepted    = says("always-accepted", "{0} is always accepted")
	BareLocalPart     = says("bare-local-part", "a bare local part belongs to the MTA")
	NotOurs           = says("not-ours", "the recipient's domain is not ours")
	HereOnly          = says("here-only", ", and it comes from there: it is delivered here only")
	HiddenRecipient   = answers("hidden-recipient", 554, "5.7.1", "Relay access denied",
		"RFC 3463 section 3.8", "the recipient's domain ends with `route.invalid`, by which the MTA alone knows recipients whom a `[[route]]` takes to a relay", "addresses of route.invalid are coexistd's own, and nobody may send to them")
	HiddenUnknown = answers("hidden-unknown", 451, "4.3.5", "The next hop of the address is not known here, try again later",
		"RFC 3463 section 3.4", "an address of `route.invalid` in the MTA's queue was made with another secret than today's", "")
	RoutedTo        = says("routed-to", "the route {u0} takes it to {1}")
	RoutedLocalPart = answers("routed-local-part", 554, "5.7.1", "Relay access denied",
		"RFC 5321 appendix F.2, RFC 3463 section 3.8", "the local part names a way to another domain, from S0 or S1: `user%other@ours`, `other!user@ours`, `\"user@other\"@ours`", "the local part of {q0} names a way to another domain, and mail from outside is not relayed")
	AlternateFromOutside = answers("alternate-from-outside", 554, "5.7.1", "Relay access denied: an alternate domain takes mail at its platform only",
		"RFC 3463 section 3.8", "the recipient's domain is an alternate domain, from S0", "{0} is an alternate domain of {1}, and mail from the Internet does not enter here for it")
	RelayFromOutside = answers("relay-from-outside", 554, "5.7.1", "Relay access denied",
		"RFC 3463 section 3.8", "the recipient's domain is another, from S0", "{q0} is no domain of ours, and mail from the Internet is not relayed")
	RelayFromPlatform = answers("relay-from-platform", 554, "5.7.1", "Relay access denied",
		"RFC 3463 section 3.8", "the recipient's domain is another, from S1 without `may_relay`", "may_relay of platform {0} does not allow its users to send through us")
	LoopListed = answers("loop-listed", 554, "5.4.6", "Mail loop: {why}",
		"RFC 3463 section 3.5", "an address of an alternate domain comes from its own platform", ", but {0} sent the message for {1} here")
	LoopOwnAddress = answers("loop-own-address", 554, "5.4.6", "Mail loop: {why}",
		"RFC 3463 section 3.5", "an address of an alternate domain comes from its own platform", "{0} sent the message for {1} here, which is an address of its own")
	LoopSentBack = answers("loop-sent-back", 554, "5.4.6", "Mail loop: {why}",
		"RFC 3463 section 3.5", "the recipient lives where the message comes from", ", but {0} sent the message here")
	LoopPasses = answers("loop-passes", 554, "5.4.6", "Mail loop: {why}",
		"RFC 3463 section 3.5", "the message was sent on `max_passes` times before", "the message was sent on there {0} times and came back")
	DirectoryFailed = answers("directory-failed", 451, "4.3.0", "The directory cannot be read at the moment, try again later",
		"RFC 3463 section 3.4", "the directory cannot be read", "the directory of {0} cannot say who lives where")
	Unlisted = answers("unlisted", 550, "5.1.1", "The address is not known here",
		"RFC 3463 section 3.2", "nobody has the address", "the directory of {0} lacks {q1}")
	PastMX = answers("past-mx", 550, "5.7.1", "Mail for this domain is taken by its MX only",
		"RFC 3463 section 3.8", "`past_mx`: the message came past the domain's MX (postmaster and abuse are exempt)", "the MX of {0} is at {1}, and past_mx refuses what comes past it")
	Moving = answers("moving", 450, "4.2.1", "The mailbox is being moved, try again later",
		"RFC 3463 section 3.3", "the mailbox is being moved", "the directory says that {0} is moving")
	TooLongThere = answers("too-long-there", 550, "5.1.3", "The address is too long to be sent on",
		"RFC 5321 section 4.5.3.1.3", "the recipient's address at the other platform would be longer than 253 octets", "the address of {q0} at {1} would be longer than {2} octets")
	BounceToSeveral = answers("bounce-to-several", 550, "5.5.3", "A bounce has one recipient",
		"RFC 5321 section 4.5.5, RFC 3463 section 3.6", "the null sender with a second recipient, at S0 or S1", "the null sender has several recipients")

	// What keeps a message from being decided on.
	NotSetUp = answers("not-set-up", 451, "4.3.5", "The mail system is not set up, try again later",
		"RFC 3463 section 3.4", "coexistd is not set up, or the MTA does not let it add headers and add and delete recipients", "")
	BadSender = answers("bad-sender", 501, "5.1.7", "Bad sender address syntax",
		"RFC 3463 section 3.2", "the sender is not an address (said at RCPT)", "")
	BadRecipient = answers("bad-recipient", 501, "5.1.3", "Bad recipient address syntax",
		"RFC 3463 section 3.2", "the recipient is not an address", "")
	SenderLacks = answers("sender-lacks", 451, "4.5.1", "A recipient came without a sender",
		"RFC 3463 section 3.6", "a recipient came without a sender", "")
	TooManyRecipients = answers("too-many-recipients", 452, "4.5.3", "Too many recipients",
		"RFC 5321 section 4.5.3.1.10", "more than 4,096 recipients (the rest goes in another message)", "")
	TooManyOnHost = answers("too-many-on-host", 554, "5.5.3", "The message has too many recipients",
		"RFC 3463 section 3.6", "a message of the sendmail command has more than 4,096 recipients", "")
	HeaderTooLarge = answers("header-too-large", 552, "5.3.4", "The message's header is too large",
		"RFC 3463 section 3.4", "the header is larger than 2 MiB or has more than 10,000 fields", "")
	TooManyFields = answers("too-many-fields", 554, "5.6.0", "The message has too many header fields named {0}",
		"RFC 3463 section 3.7", "more than 100 fields bear a name of those that are removed: the result header's, a secret header's, Authentication-Results, X-Coexist-Pass", "")
	RecipientsNotAsked = answers("recipients-not-asked", 451, "4.3.0", "The message cannot be handled at the moment, try again later",
		"RFC 3463 section 3.4", "the MTA asked about none of the message's recipients", "the MTA sends a message without having asked for any of its recipients")
	ChangeUnfit = answers("change-unfit", 451, "4.3.0", "The message cannot be handled at the moment, try again later",
		"RFC 3463 section 3.4", "a change to the message is not fit for the MTA", "a change to the message is not fit for the MTA: {=0}")
	ArchiveLost = answers("archive-lost", 451, "4.3.0", "The message cannot be handled at the moment, try again later",
		"RFC 3463 section 3.4", "nobody can tell where the mailbox of `[archive]` is: the directory cannot be read, lacks it, or has it as moving", "the archive {0} cannot be given a copy: {=1}")
	NotHeld = answers("not-held", 451, "4.3.0", "The message cannot be handled at the moment, try again later",
		"RFC 3463 section 3.4", "the message cannot be held in quarantine", "the message cannot be held in quarantine: {=0}")
	SpoolFailed = answers("spool-failed", 452, "4.3.1", "The mail system is out of storage, try again later",
		"RFC 3463 section 3.4", "a long message finds no room in the spool", "{=0}")
	BodyNotTold = answers("body-not-told", 451, "4.3.0", "The message cannot be checked at the moment, try again later",
		"RFC 3463 section 3.4", "the MTA's connection is older than the first configuration that reads bodies", "the MTA was told on this connection, before a reload, that bodies are not read")

	// What checks find, and what is said where a finding has nothing of its own.
	CheckUnknown = answers("check-unknown", 451, "4.3.0", "The message cannot be checked at the moment, try again later",
		"RFC 3463 section 3.4", "a check cannot tell, and `on_error` is tempfail", "")
	CheckUnknownRefused = answers("check-unknown-refused", 554, "5.3.0", "The message cannot be checked",
		"RFC 3463 section 3.4", "a check cannot tell, and `on_error` is reject", "")
	NotTaken = answers("not-taken", 451, "4.7.1", "The message is not taken at the moment, try again later",
		"RFC 3463 section 3.8", "rspamd asks for a later try (soft reject), or `tempfail` is configured for a hit", "")
	RefusedAs = answers("refused-as", 550, "5.7.1", "The message is refused as {0}",
		"RFC 3463 section 3.8", "the message is refused as spam, or by another check that has no reply of its own", "")
	VirusFound = answers("virus-found", 554, "5.7.1", "Virus found: {0}",
		"RFC 3463 section 3.8", "`virus`: a virus, by its name", "")
	AttachmentRefused = answers("attachment-refused", 554, "5.7.1", "Attachment refused: {0}",
		"RFC 3463 section 3.8", "`malware`: an attachment, by what it is", "")
	AuthRequired = answers("auth-required", 530, "5.7.0", "Authentication required",
		"RFC 4954 section 6", "`auth`: the client is not logged in, and is not known otherwise", "the client is not logged in, and is none of our_networks and our_certificates")
	TLSNeeded = answers("tls-needed", 530, "5.7.0", "Must issue a STARTTLS command first",
		"RFC 3207 section 4", "`tls`: the connection is not encrypted, and a `[[tls]]` demands it", "{u0} demands TLS, and the connection is not encrypted")
	TLSTooOld = answers("tls-too-old", 550, "5.7.10", "Encryption needed: a newer version of TLS",
		"RFC 5248 section 2.4", "`tls`: the version of TLS is older than a `[[tls]]` demands", "{u0} demands TLS {2}, and the client speaks {1}")
	TLSNotTrusted = answers("tls-not-trusted", 550, "5.7.10", "Encryption needed: a certificate that is trusted here",
		"RFC 5248 section 2.4", "`tls`: the client has no certificate that the MTA trusts, and a `[[tls]]` demands one", "{u0} demands a certificate, and the client has none that the MTA trusts")
	TLSOtherName = answers("tls-other-name", 550, "5.7.10", "Encryption needed: a certificate of another name",
		"RFC 5248 section 2.4", "`tls`: the client's certificate has none of the names of a `[[tls]]`", "{u0} demands a certificate of another name than {q1}")
	TLSBeforeUpstream = says("tls-before-upstream", "{u0} demands TLS of the client, and how that one was connected to the upstream {1} is not told")
	TooMuch           = answers("too-much", 421, "4.7.0", "Too many connections or commands, try again later",
		"RFC 5321 section 3.8, RFC 3463 section 3.8", "`ddos`: too many connections, messages or refused recipients", "")
	TooMuchRefused = answers("too-much-refused", 554, "5.7.0", "Too many connections or commands",
		"RFC 3463 section 3.8", "`ddos`: too many connections, messages or refused recipients, with `on_hit = \"reject\"`", "")
	TooManyUnknown = answers("too-many-unknown", 421, "4.7.0", "Too many unknown recipients, try again later",
		"RFC 5321 section 3.8, RFC 3463 section 3.8", "`ddos`: too many unknown recipients (`unknown`)", "")
	TooManyUnknownRefused = answers("too-many-unknown-refused", 554, "5.7.0", "Too many unknown recipients",
		"RFC 3463 section 3.8", "`ddos`: too many unknown recipients (`unknown`), with `on_hit = \"reject\"`", "")

	// The check rate.
	LimitNotKnown = answers("limit-not-known", 451, "4.3.0", "The directory cannot be read at the moment, try again later",
		"RFC 3463 section 3.4", "`rate`: the directory, which has the limit, cannot be read", "the directory cannot say what the limit is")
	TooManyLimits = answers("too-many-limits", 452, "4.5.3", "Too many recipients",
		"RFC 5321 section 4.5.3.1.10", "`rate`: the message asks for more than 1,000 limits at once", "its recipients ask for more than {0} limits at once")
	LimitNotAsked = answers("limit-not-asked", 450, "4.7.1", "The rate limit cannot be asked at the moment, try again later",
		"RFC 3463 section 3.8", "`rate`: a limit cannot be asked", "the limit {u0} cannot be asked")
	OverLimit = answers("over-limit", 450, "4.7.1", "Too many {3} were sent, try again in {4}",
		"RFC 3463 section 3.8", "`rate`: a limit is reached", "{u0} of {1} has no room for {=2}")
	OverLimitRefused = answers("over-limit-refused", 550, "5.7.1", "Too many {3} were sent",
		"RFC 3463 section 3.8", "`rate`: the message is over a limit that refuses", "{u0} of {1} has no room for {=2}")
	OverLimitTagged = says("over-limit-tagged", "{u0} of {1} has no room for {=2}")
	OverBurst       = answers("over-burst", 550, "5.7.1", "The message has more {3} than are taken at once: {4}",
		"RFC 3463 section 3.8", "`rate`: the message is larger than a limit ever allows", "{u0} of {1} has no room for {=2}")
	OverBurstBounce = answers("over-burst-bounce", 450, "4.7.1", "The message has more {3} than are taken at once: {4}",
		"RFC 3463 section 3.8", "`rate`: a bounce is larger than a limit ever allows", "{u0} of {1} has no room for {=2}")

	// The check spoof.
	TooManySenders = answers("too-many-senders", 550, "5.7.1", "The message names too many senders",
		"RFC 3463 section 3.8", "`spoof`: the message names more than 100 senders", "the message names more addresses as its senders, or has more text beside them, than is looked at")
	OwnerNotKnown = says("owner-not-known", "the directory cannot say whether {0} belongs to the login")
	// It does not say whose the address is.
	NotTheLogins = answers("not-the-logins", 553, "5.7.1", "Sender address refused: {0} does not belong to the login",
		"RFC 3463 section 3.8", "`spoof`: the sender does not belong to the login", "{0} is named in {1} and does not belong to the login {q2}")
	// RFC 5322 section 3.6 has no enhanced code of its own; the class X.6 is for
	// content that cannot be taken.
	SeveralFrom = answers("several-from", 550, "5.6.0", "The message has several From fields",
		"RFC 5322 section 3.6, RFC 3463 section 3.7", "`spoof`: several From fields", "the header has {0} From fields")
	AuthorUnreadable = answers("author-unreadable", 550, "5.6.0", "The message has a From or Sender field that cannot be read",
		"RFC 5322 section 3.6.2, RFC 3463 section 3.7", "`spoof`: at S2, a From or Sender field cannot be read", "the authors cannot be read: {0}")
	AuthorLacks = answers("author-lacks", 550, "5.7.1", "The message names no author",
		"RFC 3463 section 3.8", "`spoof`: at S2, the message names no author", "neither the From field nor the envelope names an author")
	FromLacks           = says("from-lacks", "the header has no From field")
	FromNamesNobody     = says("from-names-nobody", "the From field names nobody")
	AuthorWithoutDomain = says("author-without-domain", "an address of the From field has no domain")
	AuthorsUnread       = answers("authors-unread", 550, "5.7.1", "The message has too many authors",
		"RFC 3463 section 3.8", "`spoof`: the fields that name authors are longer than is looked at", "the fields that name authors hold more than is looked at")
	TooManyDomainsSeen = answers("too-many-domains-seen", 550, "5.7.1", "The message has too many authors",
		"RFC 3463 section 3.8", "`spoof`: a From field that cannot be read names more domains than are looked at", "the From field cannot be read, and names more than {0} domains")
	TooManyDomains = answers("too-many-domains", 550, "5.7.1", "The message has too many authors",
		"RFC 3463 section 3.8", "`spoof`: the authors are of more domains than are looked at", "the authors are of {0} domains, and at most {1} are looked at")
	OwnDomainAsSender   = says("own-domain-as-sender", "the Sender field names {0}, which is ours, without proof")
	SenderNotAsked      = says("sender-not-asked", "what the DNS says of the sender could not be had")
	OwnDomainNotAsked   = says("own-domain-not-asked", "{0} names {1}, which is ours, and whether that is proven is not known: {=2}")
	SenderWithoutDomain = answers("sender-without-domain", 550, "5.7.1", "The sender's address has no domain",
		"RFC 3463 section 3.8", "`spoof`: at S0, the envelope sender has no domain", "{0} has no domain, and would be given one of ours")
	OwnDomain = answers("own-domain", 550, "5.7.26", "Neither SPF nor DKIM proves that the message is from {1}",
		"RFC 7372 section 3.4", "`spoof`: a domain of ours is not proven", "{0} names {1}, which is ours, without proof: {=2}")
	OwnDomainElsewhere = answers("own-domain-elsewhere", 550, "5.7.26", "Neither SPF nor DKIM proves that the message is from {1}",
		"RFC 7372 section 3.4", "`spoof`: at S1, a domain of ours that has no mailboxes at the platform is not proven", "{0} names {1}, which is ours and has no mailboxes at {3}, without proof: {=2}")
	TenantNotProven = answers("tenant-not-proven", 451, "4.7.0", "The message lacks the proof of its tenant, try again later",
		"RFC 3463 section 3.8", "mail in our own name from a platform's networks bears no proof of a tenant, neither ours nor another: `spoof`, a relay that `may_relay` would allow, or one that `past_mx` refuses", "{0} names {1}, which is ours, and the message from {2} bears no proof of any tenant")
	DMARCNotAsked  = says("dmarc-not-asked", "the policy of {0} is not known: {=1}")
	DMARCNotProven = says("dmarc-not-proven", "whether the message fails the policy of {0} is not known: {=1}")
	DMARCFails     = answers("dmarc-fails", 550, "5.7.26", "The message fails the DMARC policy of {0}",
		"RFC 7372 section 3.4", "`spoof`: DMARC fails", "it fails the policy of {0}: {=1}")
	SPFNotAsked  = says("spf-not-asked", "whether the client may send for {0} is not known: {=1}")
	SPFNotProven = says("spf-not-proven", "the client may not send for {0}, and whether its author signed the message is not known: {=1}")
	SPFFails     = answers("spf-fails", 550, "5.7.23", "SPF validation failed for {0}",
		"RFC 7372 section 3.2", "`spoof`: SPF fails", "the client may not send for {0}, says its SPF record")
	DomainLooksLike = says("domain-looks-like", "the domain {0} looks like {1}, which is ours")
	TextLooksLike   = says("text-looks-like", "the text beside the address {0} names {1}, which looks like {2}")
	TextNamesOurs   = says("text-names-ours", "the text beside the address {0} names {1}, which is ours")
	TextReadsAsOurs = says("text-reads-as-ours", "the text beside the address {0} reads as {1}, which is ours")
	TextsHoldMore   = says("texts-hold-more", "the texts beside the addresses hold more than is looked at")
)
