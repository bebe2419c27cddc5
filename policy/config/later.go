package config

// laterTables are tables that the configuration language has and this version
// has not.
var laterTables = []string{"redis", "rate"}

// refuseLater refuses whole tables that this version does not have.
func (r *reader) refuseLater(t *table) {
	if t.has("redis") {
		t.fail("redis", "this version does not have Redis; take it out")
	}
	if t.has("rate") {
		t.fail("rate", "this version does not have rate limits; take them out")
	}
}
