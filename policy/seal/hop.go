package seal

import (
	"crypto/hmac"
	"encoding/hex"
)

const forHop = "hop\n"

// hopBytes is the length of what signs a next hop: it stands in a domain, and in bounces.
const hopBytes = 10

// SignHop returns what shows that a next hop was named by us, as the label of a domain.
func (k Keys) SignHop(hop string) string {
	key := k.keyed()
	defer k.giveBack(key)
	return hex.EncodeToString(key.of(forHop, hop, "")[:hopBytes])
}

// HasSignedHop reports a label that SignHop has made for that hop.
func (k Keys) HasSignedHop(hop, label string) bool {
	return !k.IsZero() && hmac.Equal([]byte(label), []byte(k.SignHop(hop)))
}
