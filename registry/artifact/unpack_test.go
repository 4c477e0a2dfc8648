package artifact_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/flamingock/flamingock-go/registry/artifact"
)

type entry struct {
	header tar.Header
	data   string
}

func archive(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, e := range entries {
		if e.header.Size == 0 {
			e.header.Size = int64(len(e.data))
		}
		if err := w.WriteHeader(&e.header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpack(t *testing.T) {
	t.Parallel()
	const file = "flamingock-plugin-box"
	regular := func(name, data string) entry {
		return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755}, data}
	}
	link := func(kind byte, to string) entry {
		return entry{tar.Header{Typeflag: kind, Name: file, Linkname: to}, ""}
	}
	good := archive(t, regular(file, "code"))
	for name, c := range map[string]struct {
		data []byte
		want string // "" for the program
	}{
		"good":           {good, ""},
		"parent":         {archive(t, regular("../"+file, "code")), `holds "../flamingock-plugin-box" in the place of`},
		"absolute":       {archive(t, regular("/bin/"+file, "code")), `holds "/bin/flamingock-plugin-box" in the place of`},
		"folder":         {archive(t, regular("x/"+file, "code")), `holds "x/flamingock-plugin-box" in the place of`},
		"backslash":      {archive(t, regular(`..\`+file, "code")), "in the place of"},
		"other name":     {archive(t, regular("flamingock-plugin-crate", "code")), "in the place of"},
		"symbolic link":  {archive(t, link(tar.TypeSymlink, "/bin/sh")), "is not a regular file"},
		"hard link":      {archive(t, link(tar.TypeLink, "/etc/passwd")), "is not a regular file"},
		"device":         {archive(t, entry{tar.Header{Typeflag: tar.TypeChar, Name: file}, ""}), "is not a regular file"},
		"directory":      {archive(t, entry{tar.Header{Typeflag: tar.TypeDir, Name: file}, ""}), "is not a regular file"},
		"two files":      {archive(t, regular(file, "code"), regular("more", "x")), `holds "more" beside the program`},
		"larger":         {archive(t, regular(file, "code and more")), "has 13 bytes, and the plugin's manifest says 4"},
		"bomb":           {archive(t, regular(file, strings.Repeat("0", 64<<20))), "and the plugin's manifest says 4"},
		"empty":          {archive(t), "EOF"},
		"not compressed": {[]byte("code"), "read the archive of the program"},
		"cut off":        {good[:len(good)/2], "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &artifact.Manifest{Name: "box", Binary: artifact.Binary{File: file, Size: 4}}
			r, err := artifact.Unpack(bytes.NewReader(c.data), m)
			var got []byte
			if err == nil {
				got, err = io.ReadAll(r)
			}
			switch {
			case c.want == "" && (err != nil || string(got) != "code"):
				t.Errorf("%q, %v", got, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("it says %v, and should say %q", err, c.want)
			case len(got) > 4:
				t.Errorf("%d bytes came out", len(got))
			}
		})
	}
}

// FuzzDocuments reads what a registry may send.
func FuzzDocuments(f *testing.F) {
	f.Add([]byte(`{"mediaType":"application/vnd.oci.image.index.v1+json","artifactType":"application/vnd.flamingock.plugin.v1"}`))
	f.Add([]byte(`{"artifactType":"application/vnd.flamingock.plugin.v1","layers":[{"mediaType":"x","digest":"sha256:00"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if i, err := artifact.ReadIndex(data); err == nil {
			if artifact.CheckName(i.Name) != nil || len(i.Manifests) == 0 {
				t.Errorf("%+v is taken for an index", i)
			}
		}
		if l, err := artifact.ReadLayers(data); err == nil && l.Binary.Size > artifact.MaxBinary {
			t.Errorf("%+v is taken for a manifest", l)
		}
	})
}
