package control

import "time"

// Find asks what the daemon has of an address.
type Find struct {
	Address string `json:"address"`
}

// Found is what directories have of an address.
type Found struct {
	// Configuration is the path of the one that the daemon goes by. It is empty where the
	// files were read in its place.
	Configuration string `json:"configuration"`
	Address       string `json:"address"`
	// Lives is the residence that counts, and Goes the address that reaches the mailbox
	// elsewhere, or the relay.
	Lives string `json:"lives"`
	Goes  string `json:"goes"`
	Why   string `json:"why"` // it is refused or put off
	Rows  []Row  `json:"rows"`
	// Known is set where the directories can say whether somebody has the address, and Nobody
	// where they say that nobody does.
	Known  bool `json:"known"`
	Nobody bool `json:"nobody"`
	// Unread tells why lists that are asked for the domain cannot be read.
	Unread []string `json:"unread"`
}

// Row is one row of a directory.
type Row struct {
	Address   string `json:"address"`
	Residence string `json:"residence"`
	Login     string `json:"login"`
	Target    string `json:"target"`
	Kind      string `json:"kind"`
	Source    string `json:"source"`
	Origin    string `json:"origin"`
	Line      int    `json:"line"`
	// Counts is set where mail goes by the row. Why says why it does not.
	Counts bool   `json:"counts"`
	Why    string `json:"why,omitempty"`
	// Since is a time since which the list has had the row so, at least.
	Since time.Time `json:"since,omitzero"`
}
