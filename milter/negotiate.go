package milter

import (
	"encoding/binary"
	"fmt"

	gomilter "github.com/emersion/go-milter"
)

// The frames of the protocol that go-milter has no name for.
const (
	codeUnknown = gomilter.Code('U') // SMFIC_UNKNOWN

	replyProgress    = 'p' // SMFIR_PROGRESS
	replyAddRcptArgs = '2' // SMFIR_ADDRCPT_PAR
	replyOptNeg      = 'O' // SMFIC_OPTNEG
)

const (
	oldestVersion = 2
	ourVersion    = 6

	// neededActions are those without which no recipient can be rewritten, or
	// no loop seen.
	neededActions = gomilter.OptAddHeader | gomilter.OptAddRcpt | gomilter.OptRemoveRcpt
	wantedActions = neededActions | gomilter.OptChangeHeader | gomilter.OptAddRcptWithArgs | gomilter.OptSetSymList

	// wantedProtocol asks for no event that nothing is done with, and for no
	// waiting for answers that are always the same. It is what makes a milter
	// fast. Of bodies, see bodyTerms, and of connections guardTerms.
	wantedProtocol = gomilter.OptNoEOH | gomilter.OptNoUnknown | gomilter.OptNoData | gomilter.OptSkip |
		gomilter.OptNoHeaderReply | gomilter.OptNoHeloReply | gomilter.OptNoMailReply |
		gomilter.OptHeaderLeadingSpace
)

// bodyTerms says how bodies are to come: not at all when no check reads them,
// without waiting for answers when every message is read, and else piece by
// piece, so that the MTA can be told to skip the rest.
func bodyTerms(some, all bool) gomilter.OptProtocol {
	switch {
	case !some:
		return gomilter.OptNoBody
	case all:
		return gomilter.OptNoBodyReply
	}
	return 0
}

// guardTerms says whether the MTA waits for an answer to CONNECT, and whether it
// tells of the recipients that it refuses itself: both are needed where clients
// are bounded.
func guardTerms(guards bool) gomilter.OptProtocol {
	if guards {
		return gomilter.OptRcptRej
	}
	return gomilter.OptNoConnReply
}

// wantedMacros lists what is used, by stage. It replaces the MTA's own
// settings. Postfix has the queue id after the first recipient, Sendmail from
// MAIL on.
var wantedMacros = []struct {
	stage gomilter.Stage
	names string
}{
	{gomilter.StageConnect, "{client_addr} v"},
	{gomilter.StageHelo, "{tls_version} {cert_subject} {cn_subject} {verify}"},
	{gomilter.StageMailFrom, "i {auth_authen} {coexistd_dsn}"},
	{gomilter.StageRcptTo, "i {rcpt_mailer} {rcpt_host}"},
	{gomilter.StageEOM, "i"},
}

// terms is what was agreed with the MTA for a connection. The zero value, before any
// negotiation, allows nothing.
type terms struct {
	version  uint32
	actions  gomilter.OptAction
	protocol gomilter.OptProtocol
}

// negotiate agrees to what is both offered and wanted, with what this connection
// wants further. The payload is the MTA's: version, actions and protocol flags, 32
// bits each; an MTA may say more.
func negotiate(payload []byte, further gomilter.OptProtocol) (terms, error) {
	if len(payload) < 12 {
		return terms{}, protocolError(fmt.Sprintf("the MTA's offer has %d bytes; at least 12 would be right", len(payload)))
	}
	version := binary.BigEndian.Uint32(payload)
	if version < oldestVersion {
		return terms{}, protocolError(fmt.Sprintf("the MTA offers milter protocol version %d; at least %d would be right", version, oldestVersion))
	}
	return terms{
		version:  min(version, ourVersion),
		actions:  wantedActions & gomilter.OptAction(binary.BigEndian.Uint32(payload[4:])),
		protocol: (wantedProtocol | further) & gomilter.OptProtocol(binary.BigEndian.Uint32(payload[8:])),
	}, nil
}

// answer returns the terms as the payload that the MTA expects.
func (t terms) answer() string {
	b := make([]byte, 0, 128)
	b = binary.BigEndian.AppendUint32(b, t.version)
	b = binary.BigEndian.AppendUint32(b, uint32(t.actions))
	b = binary.BigEndian.AppendUint32(b, uint32(t.protocol))
	if t.actions&gomilter.OptSetSymList != 0 {
		for _, wanted := range wantedMacros {
			b = binary.BigEndian.AppendUint32(b, uint32(wanted.stage))
			b = append(append(b, wanted.names...), 0)
		}
	}
	return string(b)
}

// suffice reports that messages can be handled on these terms.
func (t terms) suffice() bool { return t.actions&neededActions == neededActions }

func (t terms) may(action gomilter.OptAction) bool      { return t.actions&action != 0 }
func (t terms) agreed(option gomilter.OptProtocol) bool { return t.protocol&option != 0 }
