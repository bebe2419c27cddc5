package daemon

import "testing"

func TestLargeListsLeaveRoomForLittleGarbageBesideThem(t *testing.T) {
	for size, want := range map[int]int{0: 100, 1 << 20: 100, spare: 100, 2 * spare: 50, 8 * spare: 12, 1 << 40: 10} {
		if got := garbagePercent(size); got != want {
			t.Errorf("lists of %d bytes: %d %%; right is %d %%", size, got, want)
		}
	}
}
