package lab

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

func tortureArchives(_ func(name, data string, args ...any), from func(name string, data func() []byte)) {
	zipOf := func(name string, data func() []byte) {
		from(name, func() []byte { return tortureFile("a.zip", data()) })
	}
	tortureZips(zipOf)
	tortureZipDirectories(zipOf)
	tortureGzips(from)
	tortureSealed(from)
}

// tortureZips are zip archives whose entries are bad.
func tortureZips(zipOf func(name string, data func() []byte)) {
	zipOf("a zip bomb", func() []byte { return tortureRaw("zeros.zip", 8, tortureZeros(64), nil) })
	zipOf("a zip bomb in layers", func() []byte {
		data := tortureRaw("a.zip", 8, tortureZeros(16), nil)
		for range 2 {
			layer := tortureZipOf(16, func(i int) (string, []byte) { return fmt.Sprintf("%d.zip", i), data })
			data = tortureRaw("a.zip", 8, append(tortureDeflate(layer), 3, 0), nil)
		}
		return data
	})
	zipOf("a zip bomb of entries that lie on one another", func() []byte { return tortureOverlap(5000, 8) })
	zipOf("a zip archive that contains itself", tortureQuine)
	zipOf("20,000 entries", func() []byte {
		return tortureZipOf(20_000, func(i int) (string, []byte) { return fmt.Sprintf("%d.txt", i), nil })
	})
	zipOf("9,000 entries with content", func() []byte {
		return tortureZipOf(9_000, func(i int) (string, []byte) { return fmt.Sprintf("%d.txt", i), []byte("text") })
	})
	zipOf("an entry's name of 60 KB", func() []byte { return tortureZip(strings.Repeat("a/", 30_000)+"a.txt", nil) })
	zipOf("entries of the same name", func() []byte {
		return tortureZipOf(100, func(int) (string, []byte) { return "a.txt", []byte("x") })
	})
	zipOf("an entry without a name", func() []byte { return tortureZip("", []byte("x")) })
	zipOf("a name that climbs", func() []byte { return tortureZip("../../../../etc/passwd", []byte("x")) })
	zipOf("a name with NULs", func() []byte { return tortureZip("a\x00b\x00", []byte("x")) })
	zipOf("empty blocks that inflate to nothing", func() []byte {
		data := tortureZip("a.txt", []byte("x"))
		return tortureRaw("a.zip", 8, bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 500_000), data)
	})
	zipOf("broken deflate", func() []byte { return tortureRaw("a.txt", 8, []byte("\xff\xff\xff\xff"), nil) })
	for _, depth := range []int{4, 5, 6, 50} {
		zipOf(fmt.Sprintf("%d zip archives within each other", depth), func() []byte {
			data := []byte("x")
			for range depth {
				data = tortureZip("a.zip", data)
			}
			return data
		})
	}
}

// tortureZipDirectories are zip archives whose directory is bad.
func tortureZipDirectories(zipOf func(name string, data func() []byte)) {
	zeros := bytes.Repeat([]byte{0}, 18)
	zipOf("an end without a directory", func() []byte { return append([]byte("PK\x05\x06"), zeros...) })
	zipOf("an end that names 65,535 entries", func() []byte {
		return append([]byte("PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff"), zeros[:10]...)
	})
	zipOf("a directory before the archive", func() []byte {
		data := tortureZip("a.txt", []byte("x"))
		binary.LittleEndian.PutUint32(data[len(data)-6:], 1<<31)
		return data
	})
	zipOf("a directory larger than the archive", func() []byte {
		data := tortureZip("a.txt", []byte("x"))
		binary.LittleEndian.PutUint32(data[len(data)-10:], 1<<31)
		return data
	})
	zipOf("zip64", func() []byte { return torture64(tortureZip("a.txt", []byte("x")), false) })
	zipOf("zip64 with an absurd directory", func() []byte { return torture64(tortureZip("a.txt", []byte("x")), true) })
	zipOf("2,000 ends", func() []byte {
		return bytes.Repeat(append([]byte("PK\x05\x06"), zeros...), 2_000)
	})
	zipOf("headers and no directory", func() []byte { return bytes.Repeat([]byte("PK\x03\x04"), 200_000) })
	zipOf("headers in a gap", func() []byte {
		return append(bytes.Repeat([]byte("PK\x03\x04"+strings.Repeat("\x00", 30)), 50_000), tortureZip("a.txt", nil)...)
	})
	zipOf("a comment with another archive", func() []byte {
		data, inner := tortureZip("a.txt", []byte("x")), tortureZip("b.txt", []byte("y"))
		binary.LittleEndian.PutUint16(data[len(data)-2:], uint16(len(inner)))
		return append(data, inner...)
	})
	zipOf("ten archives, one behind the other", func() []byte { return bytes.Repeat(tortureZip("a.txt", []byte("x")), 10) })
}

// tortureGzips are packed files, and what is packed in them.
func tortureGzips(from func(name string, data func() []byte)) {
	from("a gzip bomb", func() []byte { return tortureFile("a.gz", tortureGzipRaw(tortureZeros(64))) })
	from("a gzip bomb of tar", func() []byte {
		return tortureFile("a.tgz", tortureGzipRaw(append(tortureDeflate(tortureTar(64<<20, 1, false)), tortureZeros(64)...)))
	})
	from("a gzip file with a name of 10 KB", func() []byte {
		return tortureFile("a.gz", append([]byte("\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x03"), bytes.Repeat([]byte("a"), 10<<10)...))
	})
	from("50 gzip files within each other", func() []byte {
		data := []byte("x")
		for range 50 {
			data = tortureGzip("a.gz", data)
		}
		return tortureFile("a.gz", data)
	})
	from("20,000 entries in tar", func() []byte {
		header := tortureTar(0, 1, true)[:512]
		packed := bytes.Repeat(tortureDeflate(bytes.Repeat(header, 200)), 100)
		return tortureFile("a.tgz", tortureGzipRaw(append(packed, 3, 0)))
	})
	from("tar that is cut off", func() []byte { return tortureFile("a.tar", tortureTar(5000, 3, true)[:3000]) })
	from("tar of nonsense", func() []byte {
		return tortureFile("a.tar", append(append(make([]byte, 257), "ustar"...), bytes.Repeat([]byte("7"), 5000)...))
	})
	from("a bzip2 file of nonsense", func() []byte { return tortureFile("a.bz2", []byte("BZh91AY&SY"+strings.Repeat("x", 5000))) })
}

// tortureSealed are files that begin like an archive and go on as nonsense.
func tortureSealed(from func(name string, data func() []byte)) {
	for _, pair := range [][2]string{
		{"RAR", "Rar!\x1a\x07\x00"},
		{"RAR 5", "Rar!\x1a\x07\x01\x00"},
		{"7z", "7z\xbc\xaf\x27\x1c"},
		{"TNEF", "\x78\x9f\x3e\x22"},
		{"cabinet", "MSCF"},
	} {
		name, head := pair[0], pair[1]
		for _, filler := range []string{"\x00", "\xff", "\x01\x02\x03\x04\x05\x06\x07", "t\x00\x80\x07\x00"} {
			from(fmt.Sprintf("%s of %x", name, filler), func() []byte {
				return tortureFile("a.dat", append([]byte(head), bytes.Repeat([]byte(filler), 100_000)...))
			})
		}
	}
}

func tortureDocuments(_ func(name, data string, args ...any), from func(name string, data func() []byte)) {
	for _, pair := range [][2]string{
		{"an OLE file cut in its header", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"},
		{"an OLE file of nonsense", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\x02", 2<<20)},
		{"an OLE file of zeros", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + strings.Repeat("\x00", 2<<20)},
		{"RTF of braces", "{\\rtf1" + strings.Repeat("{", 1<<20)},
		{"RTF of backslashes", "{\\rtf1" + strings.Repeat("\\", 1<<20)},
		{"RTF of halves of a word", "{\\rtf1" + strings.Repeat("\\objdat ", 200_000)},
		{"a program's first two bytes", "MZ"},
		{"a program's header of zeros", "MZ" + strings.Repeat("\x00", 100)},
		{"HTML of opening brackets", strings.Repeat("<", 1<<20)},
		{"an interpreter line without an end", "#!" + strings.Repeat(" ", 1<<20)},
	} {
		name, data := pair[0], pair[1]
		from(name, func() []byte { return tortureFile("a.dat", []byte(data)) })
	}
}

// tortureCuts cuts one good message off at places where a reader is in the
// middle of something.
func tortureCuts(_ func(name, data string, args ...any), from func(name string, data func() []byte)) {
	whole := tortureFile("a.zip", tortureZip("a.txt", []byte("some text that is not long")))
	for i := range 20 {
		from(fmt.Sprintf("a message cut off after %d of 24 parts", i+3), func() []byte { return whole[:len(whole)*(i+3)/24] })
	}
}

func tortureZip(name string, content []byte) []byte {
	return tortureZipOf(1, func(int) (string, []byte) { return name, content })
}

// tortureZipOf makes an archive of n files that are not compressed.
func tortureZipOf(n int, member func(i int) (string, []byte)) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := range n {
		name, content := member(i)
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			panic(err)
		}
		f.Write(content)
	}
	w.Close()
	return b.Bytes()
}

// tortureRaw makes an archive whose one entry has these packed bytes. What stands
// before it in the file comes first.
func tortureRaw(name string, method uint16, packed, before []byte) []byte {
	local := len(before)
	data := append(bytes.Clone(before), tortureLocal(name, method, len(packed))...)
	data = append(data, packed...)
	start := len(data)
	data = append(data, tortureEntry(name, method, len(packed), local)...)
	return append(data, tortureEnd(1, len(data)-start, start)...)
}

func tortureLocal(name string, method uint16, packed int) []byte {
	b := make([]byte, 30, 30+len(name))
	copy(b, "PK\x03\x04")
	binary.LittleEndian.PutUint16(b[8:], method)
	binary.LittleEndian.PutUint32(b[18:], uint32(packed))
	binary.LittleEndian.PutUint16(b[26:], uint16(len(name)))
	return append(b, name...)
}

func tortureEntry(name string, method uint16, packed, offset int) []byte {
	b := make([]byte, 46, 46+len(name))
	copy(b, "PK\x01\x02")
	binary.LittleEndian.PutUint16(b[10:], method)
	binary.LittleEndian.PutUint32(b[20:], uint32(packed))
	binary.LittleEndian.PutUint32(b[24:], 1<<30)
	binary.LittleEndian.PutUint16(b[28:], uint16(len(name)))
	binary.LittleEndian.PutUint32(b[42:], uint32(offset))
	return append(b, name...)
}

func tortureEnd(entries, size, offset int) []byte {
	b := make([]byte, 22)
	copy(b, "PK\x05\x06")
	binary.LittleEndian.PutUint16(b[8:], uint16(entries))
	binary.LittleEndian.PutUint16(b[10:], uint16(entries))
	binary.LittleEndian.PutUint32(b[12:], uint32(size))
	binary.LittleEndian.PutUint32(b[16:], uint32(offset))
	return b
}

// tortureDeflate packs content into blocks of which none is the last.
func tortureDeflate(content []byte) []byte {
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	w.Write(content)
	w.Flush()
	return packed.Bytes()
}

// tortureZeros makes a deflated stream of that many MB of zeros.
func tortureZeros(size int) []byte {
	return append(bytes.Repeat(tortureDeflate(make([]byte, 1<<20)), size), 3, 0)
}

// tortureOverlap makes an archive whose entries all name the same packed bytes,
// which inflate to that many MB.
func tortureOverlap(entries, size int) []byte {
	packed := append(tortureDeflate([]byte("PK\x03\x04")), tortureZeros(size)...)
	data := append(tortureLocal("a.zip", 8, len(packed)), packed...)
	start := len(data)
	for range entries {
		data = append(data, tortureEntry("a.zip", 8, len(packed), 0)...)
	}
	return append(data, tortureEnd(entries, len(data)-start, start)...)
}

// tortureQuine makes an archive whose one entry inflates to the archive itself
// (but for the checksum), after R. Cox, "Zip Files All The Way Down": what stands
// before the deflated data and behind it is written out twice by a program of
// literals (stored blocks) and repetitions, which writes itself out as well. Each
// instruction takes five bytes.
func tortureQuine() []byte {
	const repeatPrefix, repeatFour, repeatSuffix = 65, 20, 102
	literal := func(n int) []byte { return []byte{0, byte(n), byte(n >> 8), ^byte(n), ^byte(n >> 8)} }
	// Fixed codes (RFC 1951 section 3.2.6): 65 bytes from 65 back, and an empty
	// block to fill the fifth byte; twice 10 from 20 back; 102 from 102 back, last.
	prefixAgain := tortureBits("010", "0010100", "011", "01100", "00000", "0000000", "010", "0000000")
	fourAgain := tortureBits("010", "0001000", "01000", "110", "0001000", "01000", "110", "0000000")
	suffixAgain := tortureBits("110", "0010111", "1100", "01101", "10100", "0000000")
	name := strings.Repeat("q", 26) + ".zip"
	build := func(packed int) []byte {
		prefix := tortureLocal(name, 8, packed)
		suffix := tortureEntry(name, 8, packed, 0)
		suffix = append(suffix, tortureEnd(1, len(suffix), len(prefix)+packed)...)
		first, one, four, last, none := literal(repeatPrefix), literal(5), literal(repeatFour), literal(repeatSuffix), literal(0)
		return slices.Concat(prefix, first, prefix, first, prefixAgain,
			one, prefixAgain, one, one,
			four, prefixAgain, one, one, four, fourAgain,
			four, fourAgain, four, fourAgain, four, fourAgain,
			four, fourAgain, none, none, last, fourAgain,
			none, none, last, suffixAgain, suffix, suffixAgain, suffix)
	}
	return build(len(build(0)) - 60 - 98)
}

// tortureBits packs bits as deflate does, in the order in which they are given.
func tortureBits(groups ...string) []byte {
	bits := strings.Join(groups, "")
	packed := make([]byte, (len(bits)+7)/8)
	for i, bit := range bits {
		if bit == '1' {
			packed[i/8] |= 1 << (i % 8)
		}
	}
	return packed
}

// torture64 adds the records of zip64 to an archive, which may lie.
func torture64(data []byte, absurd bool) []byte {
	end := data[len(data)-22:]
	size, offset := uint64(binary.LittleEndian.Uint32(end[12:])), uint64(binary.LittleEndian.Uint32(end[16:]))
	if absurd {
		size, offset = 1<<63, 1<<63
	}
	at := uint64(len(data) - 22)
	record := make([]byte, 56)
	copy(record, "PK\x06\x06")
	binary.LittleEndian.PutUint64(record[4:], 44)
	binary.LittleEndian.PutUint64(record[40:], size)
	binary.LittleEndian.PutUint64(record[48:], offset)
	record = append(record, "PK\x06\x07\x00\x00\x00\x00"...)
	record = binary.LittleEndian.AppendUint64(record, at)
	record = append(record, 1, 0, 0, 0)
	copy(end[8:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	return append(append(bytes.Clone(data[:at]), record...), end...)
}

func tortureGzip(name string, content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name = name
	w.Write(content)
	w.Close()
	return b.Bytes()
}

// tortureGzipRaw makes a gzip file of a deflated stream, with a wrong checksum.
func tortureGzipRaw(packed []byte) []byte {
	return append(append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"), packed...), make([]byte, 8)...)
}

// tortureTar makes an archive of files of that size, or only their headers.
func tortureTar(size, entries int, whole bool) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for range entries {
		if err := w.WriteHeader(&tar.Header{Name: "a.txt", Size: int64(size), Mode: 0o600}); err != nil {
			panic(err)
		}
		if whole {
			w.Write(make([]byte, size))
		}
	}
	w.Close()
	return b.Bytes()
}
