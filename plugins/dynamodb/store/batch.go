package dynamostore

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/flamingock/flamingock-go/plugin/sdk/store"
)

// batch is what one append writes: the contents of a journal.
type batch struct {
	Append  int64    `json:"append"`
	Entries []record `json:"entries,omitempty"`
	Points  []point  `json:"checkpoints,omitempty"`

	// chunked is true where its journal has chunks.
	chunked bool
}

// point is a checkpoint. Large data is item Item of a blob.
type point struct {
	ChangeID    string `json:"changeId"`
	ExecutionID string `json:"executionId"`
	Step        int    `json:"step"`
	Part        int    `json:"part"`
	Kind        string `json:"kind"`
	Data        []byte `json:"data,omitempty"`
	Item        int    `json:"item"`
	Blob        string `json:"blob,omitempty"`
	Bytes       int64  `json:"bytes,omitempty"`
}

func (p point) checkpoint() store.Checkpoint {
	return store.Checkpoint{ChangeID: p.ChangeID, ExecutionID: p.ExecutionID, Step: p.Step, Part: p.Part, Kind: p.Kind, Data: p.Data}
}

// pack writes b for a journal. Entries of one batch are much alike.
func (b *batch) pack() ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if err := json.NewEncoder(z).Encode(b); err != nil {
		return nil, err
	}
	err := z.Close()
	return out.Bytes(), err
}

func unpack(data []byte) (*batch, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	var b batch
	return &b, json.Unmarshal(text, &b)
}

// row is an item to be put.
type row struct {
	table string
	item  item
	size  int
}

// rows gathers items; of those with one key the last counts.
type rows struct {
	list []row
	at   map[string]int
}

func (r *rows) add(table, key string, i item) {
	n := row{table: table, item: i, size: size(i)}
	k := table + "/" + key
	if at, ok := r.at[k]; ok {
		r.list[at] = n
		return
	}
	r.at[k] = len(r.list)
	r.list = append(r.list, n)
}

// logBytes is how much of the log is put into one item.
const logBytes = 100 << 10

// forJava returns entries in the order in which Java's table gets them: at first
// what Java decides by, the newest of each change. Of those with one key it has
// the newest.
func forJava(entries []record) []record {
	last, newest := map[string]int64{}, map[string]int64{}
	for _, r := range entries {
		last[r.ChangeID], newest[r.javaKey()] = r.Seq, r.Seq
	}
	list := slices.DeleteFunc(slices.Clone(entries), func(r record) bool { return r.Java == "" && newest[r.javaKey()] != r.Seq })
	slices.SortStableFunc(list, func(a, b record) int {
		isA, isB := last[a.ChangeID] == a.Seq, last[b.ChangeID] == b.Seq
		switch {
		case isA == isB:
			return 0
		case isA:
			return -1
		}
		return 1
	})
	return list
}

// puts returns the items of a batch: those of Java's table first.
func (s *Store) puts(b *batch) ([]row, error) {
	out := &rows{at: map[string]int{}}
	for _, r := range forJava(b.Entries) {
		if r.Java != "" {
			i := keyOf("java", r.Java)
			i["seq"] = num(r.Seq)
			out.add(s.main, "java "+r.Java, i)
			continue
		}
		k := r.javaKey()
		if len(k) > 2048 {
			return nil, fmt.Errorf("entry of change %q: the ids of execution and change have %d bytes together, more than the key of table %s can have", r.ChangeID, len(k), s.audit)
		}
		out.add(s.audit, k, s.javaItem(r))
	}
	texts := make([]string, len(b.Entries))
	for n, r := range b.Entries {
		text, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("entry of change %q: %w", r.ChangeID, err)
		}
		texts[n] = string(text)
		i := keyOf("newest", changeKey(r.ChangeID))
		i["seq"], i["entry"] = num(r.Seq), str(texts[n])
		out.add(s.main, "newest "+changeKey(r.ChangeID), i)
	}
	for from := 0; from < len(texts); {
		i := keyOf("log", order(b.Entries[from].Seq))
		text := "[" + texts[from]
		for from++; from < len(texts) && len(text)+len(texts[from]) < logBytes; from++ {
			text += ",\n" + texts[from]
		}
		i["entries"] = str(text + "]")
		out.add(s.main, "log "+reader(i).text("sk"), i)
	}
	for n, p := range b.Points {
		i := keyOf(pointKey(p.ChangeID, p.ExecutionID), fmt.Sprintf("%s-%05d", order(b.Append), n))
		i["changeId"], i["executionId"], i["kind"] = str(p.ChangeID), str(p.ExecutionID), str(p.Kind)
		i["step"], i["part"] = num(int64(p.Step)), num(int64(p.Part))
		switch {
		case p.Blob != "":
			i["blob"], i["item"], i["bytes"] = str(p.Blob), num(int64(p.Item)), num(p.Bytes)
		case len(p.Data) > 0:
			i["data"] = raw(p.Data)
		}
		out.add(s.main, reader(i).text("pk")+" "+reader(i).text("sk"), i)
	}
	return out.list, nil
}

// order is a number as a key that sorts as the number does.
func order(n int64) string { return fmt.Sprintf("%019d", n) }

func pointKey(changeID, executionID string) string {
	return "checkpoint " + hash(changeID, executionID)
}
