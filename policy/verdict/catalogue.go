package verdict

// Code names a reason. It is stable: logs, metrics and programs may go by it.
type Code string

// The reasons. Those that a reply belongs to are described in the catalogue.
const (
	// Where a message enters.
	EnteredOnHost         Code = "entered-on-host"
	EnteredByListener     Code = "entered-by-listener"
	EnteredByLogin        Code = "entered-by-login"
	EnteredByOurNetworks  Code = "entered-by-our-networks"
	EnteredByCertificate  Code = "entered-by-certificate"
	EnteredByPlatform     Code = "entered-by-platform"
	EnteredByStranger     Code = "entered-by-stranger"
	EnteredWithoutAddress Code = "entered-without-address"
	NetworksNotKnown      Code = "networks-not-known"

	// The proof of a tenant.
	TenantNamed         Code = "tenant-named"
	SecretHeld          Code = "secret-held"
	CertificateShown    Code = "certificate-shown"
	SignaturePasses     Code = "signature-passes"
	ProofLacks          Code = "proof-lacks"
	ProofRepeated       Code = "proof-repeated"
	TenantForeign       Code = "tenant-foreign"
	SecretWrong         Code = "secret-wrong"
	CertificateLacks    Code = "certificate-lacks"
	CertificateForeign  Code = "certificate-foreign"
	SignatureLacks      Code = "signature-lacks"
	SignatureFails      Code = "signature-fails"
	ProofNotConfigured  Code = "proof-not-configured"
	CountsAsInternet    Code = "counts-as-internet"
	SignaturesNotLooked Code = "signatures-not-looked-at"

	// What spares a message checks.
	PassOfOurs    Code = "pass-of-ours"
	PassOfRelease Code = "pass-of-release"
	SparedByOurs  Code = "spared-by-ours"
	SparedByPass  Code = "spared-by-pass"
	SparedByAllow Code = "spared-by-allow"
	ByCheck       Code = "by-check"
	Reported      Code = "reported"
	CheckNotMade  Code = "check-not-made"
	LoopingBounce Code = "looping-bounce"
	LeftToMTA     Code = "left-to-mta"

	// Where a recipient lives.
	Listed               Code = "listed"
	ListedBoth           Code = "listed-both"
	UnlistedLives        Code = "unlisted-lives"
	UnlistedLivesBoth    Code = "unlisted-lives-both"
	AlwaysAccepted       Code = "always-accepted"
	BareLocalPart        Code = "bare-local-part"
	NotOurs              Code = "not-ours"
	HereOnly             Code = "here-only"
	RoutedLocalPart      Code = "routed-local-part"
	AlternateFromOutside Code = "alternate-from-outside"
	RelayFromOutside     Code = "relay-from-outside"
	RelayFromPlatform    Code = "relay-from-platform"
	LoopListed           Code = "loop-listed"
	LoopOwnAddress       Code = "loop-own-address"
	LoopSentBack         Code = "loop-sent-back"
	LoopPasses           Code = "loop-passes"
	DirectoryFailed      Code = "directory-failed"
	Unlisted             Code = "unlisted"
	PastMX               Code = "past-mx"
	Moving               Code = "moving"
	BounceToSeveral      Code = "bounce-to-several"

	// What keeps a message from being decided on.
	NotSetUp           Code = "not-set-up"
	BadSender          Code = "bad-sender"
	BadRecipient       Code = "bad-recipient"
	SenderLacks        Code = "sender-lacks"
	TooManyRecipients  Code = "too-many-recipients"
	TooManyOnHost      Code = "too-many-on-host"
	HeaderTooLarge     Code = "header-too-large"
	TooManyFields      Code = "too-many-fields"
	RecipientsNotAsked Code = "recipients-not-asked"
	ChangeUnfit        Code = "change-unfit"
	NotHeld            Code = "not-held"
	SpoolFailed        Code = "spool-failed"
	BodyNotTold        Code = "body-not-told"

	// What checks find, and what is said where a finding has nothing of its own.
	CheckUnknown        Code = "check-unknown"
	CheckUnknownRefused Code = "check-unknown-refused"
	NotTaken            Code = "not-taken"
	RefusedAs           Code = "refused-as"
	VirusFound          Code = "virus-found"
	AttachmentRefused   Code = "attachment-refused"
	AuthRequired        Code = "auth-required"
	TooMuch             Code = "too-much"
	TooMuchRefused      Code = "too-much-refused"

	// The check rate.
	LimitNotKnown    Code = "limit-not-known"
	TooManyLimits    Code = "too-many-limits"
	LimitNotAsked    Code = "limit-not-asked"
	OverLimit        Code = "over-limit"
	OverLimitRefused Code = "over-limit-refused"
	OverLimitTagged  Code = "over-limit-tagged"
	OverBurst        Code = "over-burst"
	OverBurstBounce  Code = "over-burst-bounce"

	// The check spoof.
	TooManySenders      Code = "too-many-senders"
	OwnerNotKnown       Code = "owner-not-known"
	NotTheLogins        Code = "not-the-logins"
	SeveralFrom         Code = "several-from"
	AuthorUnreadable    Code = "author-unreadable"
	AuthorLacks         Code = "author-lacks"
	FromLacks           Code = "from-lacks"
	FromNamesNobody     Code = "from-names-nobody"
	AuthorWithoutDomain Code = "author-without-domain"
	AuthorsUnread       Code = "authors-unread"
	TooManyDomainsSeen  Code = "too-many-domains-seen"
	TooManyDomains      Code = "too-many-domains"
	OwnDomainAsSender   Code = "own-domain-as-sender"
	SenderNotAsked      Code = "sender-not-asked"
	OwnDomainNotAsked   Code = "own-domain-not-asked"
	SenderWithoutDomain Code = "sender-without-domain"
	OwnDomain           Code = "own-domain"
	OwnDomainElsewhere  Code = "own-domain-elsewhere"
	TenantNotProven     Code = "tenant-not-proven"
	DMARCNotAsked       Code = "dmarc-not-asked"
	DMARCNotProven      Code = "dmarc-not-proven"
	DMARCFails          Code = "dmarc-fails"
	SPFNotAsked         Code = "spf-not-asked"
	SPFNotProven        Code = "spf-not-proven"
	SPFFails            Code = "spf-fails"
	DomainLooksLike     Code = "domain-looks-like"
	TextLooksLike       Code = "text-looks-like"
	TextNamesOurs       Code = "text-names-ours"
	TextReadsAsOurs     Code = "text-reads-as-ours"
	TextsHoldMore       Code = "texts-hold-more"
)

// status is a reply's codes.
type status struct {
	code     int
	enhanced string
}

// entry is what the catalogue holds of a reason. See Reason.fill for the texts.
type entry struct {
	// reply and text are what the SMTP client is told; zero: nothing. rfc is what
	// asks for the codes, and when says for the documentation when they are given.
	reply           status
	text, rfc, when string
	// why is the sentence for the log. Empty: it is text.
	why string
}

// catalogue holds every reason, and so every reply that coexistd can give.
var catalogue = map[Code]entry{
	EnteredOnHost:         {why: "the message was made on this host"},
	EnteredByListener:     {why: "the listener is {0}"},
	EnteredByLogin:        {why: "the client is logged in as {u0}"},
	EnteredByOurNetworks:  {why: "the client {client} is in our_networks"},
	EnteredByCertificate:  {why: "the client has the certificate of {u0}"},
	EnteredByPlatform:     {why: "the client {client} is in the networks of {0}"},
	EnteredByStranger:     {why: "the client {client} is neither ours nor a platform's"},
	EnteredWithoutAddress: {why: "the client has no address"},
	NetworksNotKnown: {status{451, "4.3.0"}, "The mail system is not ready, try again later", "RFC 3463 section 3.4",
		"a platform's networks are not known yet", "the networks of {0} are not known yet"},

	TenantNamed:         {why: "{0} names our tenant"},
	SecretHeld:          {why: "{0} holds the secret"},
	CertificateShown:    {why: "the client's certificate is that of {0}"},
	SignaturePasses:     {why: "a signature of {0} passes"},
	ProofLacks:          {why: "the message lacks {0}"},
	ProofRepeated:       {why: "the message has {1} headers {0}"},
	TenantForeign:       {why: "{0} names another tenant"},
	SecretWrong:         {why: "{0} does not hold the secret"},
	CertificateLacks:    {why: "the client has no certificate that the MTA trusts"},
	CertificateForeign:  {why: "the client's certificate is not that of {0}"},
	SignatureLacks:      {why: "no signature is one of {=0}"},
	SignatureFails:      {why: "the signature of {0} does not pass but is {1}"},
	ProofNotConfigured:  {why: "no proof of the tenant is configured for {0}"},
	CountsAsInternet:    {why: ": the message counts as S0"},
	SignaturesNotLooked: {why: "signatures are not verified here, and a daemon may find one that proves the tenant"},

	PassOfOurs:    {why: "this is a mail of our own"},
	PassOfRelease: {why: "released from quarantine as {0}"},
	SparedByOurs:  {why: "{0} is passed by: this is a mail of our own"},
	SparedByPass:  {why: "{0} is passed by: released from quarantine as {1}"},
	SparedByAllow: {why: "{0} is passed by: {u1} allows it"},
	ByCheck:       {why: "{0}:"},
	Reported:      {why: "{=0}"},
	CheckNotMade:  {why: "the check was not made"},
	LoopingBounce: {why: "a looping bounce is dropped"},
	LeftToMTA:     {why: "left to the MTA to bounce"},

	Listed:            {why: "the directory says that {0} lives at {1}"},
	ListedBoth:        {why: "the directory says that {0} lives at both (here and {1})"},
	UnlistedLives:     {why: "the directory lacks {0}, and unlisted addresses of {1} live at {2}"},
	UnlistedLivesBoth: {why: "the directory lacks {0}, and unlisted addresses of {1} live at both (here and {2})"},
	AlwaysAccepted:    {why: "{0} is always accepted"},
	BareLocalPart:     {why: "a bare local part belongs to the MTA"},
	NotOurs:           {why: "the recipient's domain is not ours"},
	HereOnly:          {why: ", and it comes from there: it is delivered here only"},
	RoutedLocalPart: {status{554, "5.7.1"}, "Relay access denied", "RFC 5321 appendix F.2, RFC 3463 section 3.8",
		"the local part names a way to another domain, from S0 or S1: `user%other@ours`, `other!user@ours`, `\"user@other\"@ours`", "the local part of {q0} names a way to another domain, and mail from outside is not relayed"},
	AlternateFromOutside: {status{554, "5.7.1"}, "Relay access denied: an alternate domain takes mail at its platform only", "RFC 3463 section 3.8",
		"the recipient's domain is an alternate domain, from S0", "{0} is an alternate domain of {1}, and mail from the Internet does not enter here for it"},
	RelayFromOutside: {status{554, "5.7.1"}, "Relay access denied", "RFC 3463 section 3.8",
		"the recipient's domain is another, from S0", "{q0} is no domain of ours, and mail from the Internet is not relayed"},
	RelayFromPlatform: {status{554, "5.7.1"}, "Relay access denied", "RFC 3463 section 3.8",
		"the recipient's domain is another, from S1 without `may_relay`", "may_relay of platform {0} does not allow its users to send through us"},
	LoopListed: {status{554, "5.4.6"}, "Mail loop: {why}", "RFC 3463 section 3.5",
		"an address of an alternate domain comes from its own platform", ", but {0} sent the message for {1} here"},
	LoopOwnAddress: {status{554, "5.4.6"}, "Mail loop: {why}", "RFC 3463 section 3.5",
		"an address of an alternate domain comes from its own platform", "{0} sent the message for {1} here, which is an address of its own"},
	LoopSentBack: {status{554, "5.4.6"}, "Mail loop: {why}", "RFC 3463 section 3.5",
		"the recipient lives where the message comes from", ", but {0} sent the message here"},
	LoopPasses: {status{554, "5.4.6"}, "Mail loop: {why}", "RFC 3463 section 3.5",
		"the message was sent on `max_passes` times before", "the message was sent on there {0} times and came back"},
	DirectoryFailed: {status{451, "4.3.0"}, "The directory cannot be read at the moment, try again later", "RFC 3463 section 3.4",
		"the directory cannot be read", "the directory of {0} cannot answer"},
	Unlisted: {status{550, "5.1.1"}, "The address is not known here", "RFC 3463 section 3.2",
		"nobody has the address", "the directory of {0} lacks {q1}"},
	PastMX: {status{550, "5.7.1"}, "Mail for this domain is taken by its MX only", "RFC 3463 section 3.8",
		"`past_mx`: the message came past the domain's MX (postmaster and abuse are exempt)", "the MX of {0} is at {1}, and past_mx refuses what comes past it"},
	Moving: {status{450, "4.2.1"}, "The mailbox is being moved, try again later", "RFC 3463 section 3.3",
		"the mailbox is being moved", "the directory says that {0} is moving"},
	BounceToSeveral: {status{550, "5.5.3"}, "A bounce has one recipient", "RFC 5321 section 4.5.5, RFC 3463 section 3.6",
		"the null sender with a second recipient, at S0 or S1", "the null sender has several recipients"},

	NotSetUp: {status{451, "4.3.5"}, "The mail system is not set up, try again later", "RFC 3463 section 3.4",
		"coexistd is not set up, or the MTA does not let it add headers and add and delete recipients", ""},
	BadSender: {status{501, "5.1.7"}, "Bad sender address syntax", "RFC 3463 section 3.2",
		"the sender is not an address (said at RCPT)", ""},
	BadRecipient: {status{501, "5.1.3"}, "Bad recipient address syntax", "RFC 3463 section 3.2",
		"the recipient is not an address", ""},
	SenderLacks: {status{451, "4.5.1"}, "A recipient came without a sender", "RFC 3463 section 3.6",
		"a recipient came without a sender", ""},
	TooManyRecipients: {status{452, "4.5.3"}, "Too many recipients", "RFC 5321 section 4.5.3.1.10",
		"more than 4,096 recipients (the rest goes in another message)", ""},
	TooManyOnHost: {status{554, "5.5.3"}, "The message has too many recipients", "RFC 3463 section 3.6",
		"a message of the sendmail command has more than 4,096 recipients", ""},
	HeaderTooLarge: {status{552, "5.3.4"}, "The message's header is too large", "RFC 3463 section 3.4",
		"the header is larger than 2 MiB or has more than 10,000 fields", ""},
	TooManyFields: {status{554, "5.6.0"}, "The message has too many header fields named {0}", "RFC 3463 section 3.7",
		"more than 100 fields bear a name of those that are removed: the result header's, a secret header's, Authentication-Results, X-Coexist-Pass", ""},
	RecipientsNotAsked: {status{451, "4.3.0"}, "The message cannot be handled at the moment, try again later", "RFC 3463 section 3.4",
		"the MTA asked about none of the message's recipients", "the MTA sends a message without having asked for any of its recipients"},
	ChangeUnfit: {status{451, "4.3.0"}, "The message cannot be handled at the moment, try again later", "RFC 3463 section 3.4",
		"a change to the message is not fit for the MTA", "a change to the message is not fit for the MTA: {=0}"},
	NotHeld: {status{451, "4.3.0"}, "The message cannot be handled at the moment, try again later", "RFC 3463 section 3.4",
		"the message cannot be held in quarantine", "the message cannot be held in quarantine: {=0}"},
	SpoolFailed: {status{452, "4.3.1"}, "The mail system is out of storage, try again later", "RFC 3463 section 3.4",
		"a long message finds no room in the spool", "{=0}"},
	BodyNotTold: {status{451, "4.3.0"}, "The message cannot be checked at the moment, try again later", "RFC 3463 section 3.4",
		"the MTA's connection is older than the first configuration that reads bodies", "the MTA was told on this connection, before a reload, that bodies are not read"},

	CheckUnknown: {status{451, "4.3.0"}, "The message cannot be checked at the moment, try again later", "RFC 3463 section 3.4",
		"a check cannot tell, and `on_error` is tempfail", ""},
	CheckUnknownRefused: {status{554, "5.3.0"}, "The message cannot be checked", "RFC 3463 section 3.4",
		"a check cannot tell, and `on_error` is reject", ""},
	NotTaken: {status{451, "4.7.1"}, "The message is not taken at the moment, try again later", "RFC 3463 section 3.8",
		"rspamd asks for a later try (soft reject), or `tempfail` is configured for a hit", ""},
	RefusedAs: {status{550, "5.7.1"}, "The message is refused as {0}", "RFC 3463 section 3.8",
		"the message is refused as spam, or by another check that has no reply of its own", ""},
	VirusFound: {status{554, "5.7.1"}, "Virus found: {0}", "RFC 3463 section 3.8",
		"`virus`: a virus, by its name", ""},
	AttachmentRefused: {status{554, "5.7.1"}, "Attachment refused: {0}", "RFC 3463 section 3.8",
		"`malware`: an attachment, by what it is", ""},
	AuthRequired: {status{530, "5.7.0"}, "Authentication required", "RFC 4954 section 6",
		"`auth`: the client is not logged in, and is not known otherwise", "the client is not logged in, and is none of our_networks and our_certificates"},
	TooMuch: {status{421, "4.7.0"}, "Too many connections or commands, try again later", "RFC 5321 section 3.8, RFC 3463 section 3.8",
		"`ddos`: too many connections, messages or refused recipients", ""},
	TooMuchRefused: {status{554, "5.7.0"}, "Too many connections or commands", "RFC 3463 section 3.8",
		"`ddos`: too many connections, messages or refused recipients, with `on_hit = \"reject\"`", ""},

	LimitNotKnown: {status{451, "4.3.0"}, "The directory cannot be read at the moment, try again later", "RFC 3463 section 3.4",
		"`rate`: the directory, which has the limit, cannot be read", "the directory cannot say what the limit is"},
	TooManyLimits: {status{452, "4.5.3"}, "Too many recipients", "RFC 5321 section 4.5.3.1.10",
		"`rate`: the message asks for more than 1,000 limits at once", "its recipients ask for more than {0} limits at once"},
	LimitNotAsked: {status{450, "4.7.1"}, "The rate limit cannot be asked at the moment, try again later", "RFC 3463 section 3.8",
		"`rate`: a limit cannot be asked", "the limit {u0} cannot be asked"},
	OverLimit: {status{450, "4.7.1"}, "Too many {3} were sent, try again in {4}", "RFC 3463 section 3.8",
		"`rate`: a limit is reached", "{u0} of {1} has no room for {=2}"},
	OverLimitRefused: {status{550, "5.7.1"}, "Too many {3} were sent", "RFC 3463 section 3.8",
		"`rate`: the message is over a limit that refuses", "{u0} of {1} has no room for {=2}"},
	OverLimitTagged: {why: "{u0} of {1} has no room for {=2}"},
	OverBurst: {status{550, "5.7.1"}, "The message has more {3} than are taken at once: {4}", "RFC 3463 section 3.8",
		"`rate`: the message is larger than a limit ever allows", "{u0} of {1} has no room for {=2}"},
	OverBurstBounce: {status{450, "4.7.1"}, "The message has more {3} than are taken at once: {4}", "RFC 3463 section 3.8",
		"`rate`: a bounce is larger than a limit ever allows", "{u0} of {1} has no room for {=2}"},

	TooManySenders: {status{550, "5.7.1"}, "The message names too many senders", "RFC 3463 section 3.8",
		"`spoof`: the message names more than 100 senders", "the message names more addresses as its senders, or has more text beside them, than is looked at"},
	OwnerNotKnown: {why: "the directory cannot say whether {0} belongs to the login"},
	// It does not say whose the address is.
	NotTheLogins: {status{553, "5.7.1"}, "Sender address refused: {0} does not belong to the login", "RFC 3463 section 3.8",
		"`spoof`: the sender does not belong to the login", "{0} is named in {1} and does not belong to the login {q2}"},
	// RFC 5322 section 3.6 has no enhanced code of its own; the class X.6 is for
	// content that cannot be taken.
	SeveralFrom: {status{550, "5.6.0"}, "The message has several From fields", "RFC 5322 section 3.6, RFC 3463 section 3.7",
		"`spoof`: several From fields", "the header has {0} From fields"},
	AuthorUnreadable: {status{550, "5.6.0"}, "The message has a From or Sender field that cannot be read", "RFC 5322 section 3.6.2, RFC 3463 section 3.7",
		"`spoof`: at S2, a From or Sender field cannot be read", "the authors cannot be read: {0}"},
	AuthorLacks: {status{550, "5.7.1"}, "The message names no author", "RFC 3463 section 3.8",
		"`spoof`: at S2, the message names no author", "neither the From field nor the envelope names an author"},
	FromLacks:           {why: "the header has no From field"},
	FromNamesNobody:     {why: "the From field names nobody"},
	AuthorWithoutDomain: {why: "an address of the From field has no domain"},
	AuthorsUnread: {status{550, "5.7.1"}, "The message has too many authors", "RFC 3463 section 3.8",
		"`spoof`: the fields that name authors are longer than is looked at", "the fields that name authors hold more than is looked at"},
	TooManyDomainsSeen: {status{550, "5.7.1"}, "The message has too many authors", "RFC 3463 section 3.8",
		"`spoof`: a From field that cannot be read names more domains than are looked at", "the From field cannot be read, and names more than {0} domains"},
	TooManyDomains: {status{550, "5.7.1"}, "The message has too many authors", "RFC 3463 section 3.8",
		"`spoof`: the authors are of more domains than are looked at", "the authors are of {0} domains, and at most {1} are looked at"},
	OwnDomainAsSender: {why: "the Sender field names {0}, which is ours, without proof"},
	SenderNotAsked:    {why: "what the DNS says of the sender could not be had"},
	OwnDomainNotAsked: {why: "{0} names {1}, which is ours, and the DNS failed: {=2}"},
	SenderWithoutDomain: {status{550, "5.7.1"}, "The sender's address has no domain", "RFC 3463 section 3.8",
		"`spoof`: at S0, the envelope sender has no domain", "{0} has no domain, and would be given one of ours"},
	OwnDomain: {status{550, "5.7.26"}, "Neither SPF nor DKIM proves that the message is from {1}", "RFC 7372 section 3.4",
		"`spoof`: a domain of ours is not proven", "{0} names {1}, which is ours, without proof: {=2}"},
	OwnDomainElsewhere: {status{550, "5.7.26"}, "Neither SPF nor DKIM proves that the message is from {1}", "RFC 7372 section 3.4",
		"`spoof`: at S1, a domain of ours that has no mailboxes at the platform is not proven", "{0} names {1}, which is ours and has no mailboxes at {3}, without proof: {=2}"},
	TenantNotProven: {status{451, "4.7.0"}, "The message lacks the proof of its tenant, try again later", "RFC 3463 section 3.8",
		"`spoof`: mail in our own name from a platform's networks bears no proof of a tenant, neither ours nor another", "{0} names {1}, which is ours, and the message from {3} bears no proof of any tenant"},
	DMARCNotAsked:  {why: "the policy of {0} is not known, since the DNS failed: {=1}"},
	DMARCNotProven: {why: "whether the message fails the policy of {0} is not known, since the DNS failed: {=1}"},
	DMARCFails: {status{550, "5.7.26"}, "The message fails the DMARC policy of {0}", "RFC 7372 section 3.4",
		"`spoof`: DMARC fails", "it fails the policy of {0}: {=1}"},
	SPFNotAsked:  {why: "whether the client may send for {0} is not known, since the DNS failed: {=1}"},
	SPFNotProven: {why: "the client may not send for {0}, and whether its author signed the message is not known, since the DNS failed: {=1}"},
	SPFFails: {status{550, "5.7.23"}, "SPF validation failed for {0}", "RFC 7372 section 3.2",
		"`spoof`: SPF fails", "the client may not send for {0}, says its SPF record"},
	DomainLooksLike: {why: "the domain {0} looks like {1}, which is ours"},
	TextLooksLike:   {why: "the text beside the address {0} names {1}, which looks like {2}"},
	TextNamesOurs:   {why: "the text beside the address {0} names {1}, which is ours"},
	TextReadsAsOurs: {why: "the text beside the address {0} reads as {1}, which is ours"},
	TextsHoldMore:   {why: "the texts beside the addresses hold more than is looked at"},
}
