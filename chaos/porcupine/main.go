// Command linearizable reads a history of calls as JSON and says for each user whether the calls are linearizable.
//
// It checks with Porcupine. The argument is a folder for a picture of each history that is not linearizable.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/anishathalye/porcupine"
)

// How long the check of one user may take.
const within = 30 * time.Second

// Times are nanoseconds of one clock. User: "*" stands for every user. Without a result the call may take effect at any
// time after its beginning.
type operation struct {
	User   string  `json:"user"`
	Client int     `json:"client"`
	Call   int64   `json:"call"`
	Return int64   `json:"return"`
	Input  call    `json:"input"`
	Result *result `json:"result"`
}

// Verdict: Ok, Illegal or Unknown.
type verdict struct {
	User       string                `json:"user"`
	Operations int                   `json:"operations"`
	Verdict    porcupine.CheckResult `json:"verdict"`
}

func main() {
	var history []operation
	if err := json.NewDecoder(os.Stdin).Decode(&history); err != nil {
		log.Fatal(err)
	}
	verdicts := []verdict{}
	for user, operations := range byUser(history) {
		found := porcupine.CheckOperationsTimeout(model, operations, within)
		verdicts = append(verdicts, verdict{user, len(operations), found})
		if found == porcupine.Illegal {
			_, about := porcupine.CheckOperationsVerbose(model, operations, within)
			if err := porcupine.VisualizePath(model, about, filepath.Join(os.Args[1], user+".html")); err != nil {
				log.Fatal(err)
			}
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(verdicts); err != nil {
		log.Fatal(err)
	}
}

func byUser(history []operation) map[string][]porcupine.Operation {
	found := map[string][]porcupine.Operation{}
	for _, one := range history {
		if one.User != "*" {
			found[one.User] = nil
		}
	}
	for _, one := range history {
		checked := porcupine.Operation{
			ClientId: one.Client, Input: one.Input, Output: one.Result, Call: one.Call, Return: one.Return,
		}
		if one.Result == nil {
			checked.Return = math.MaxInt64
		}
		for user := range found {
			if one.User == user || one.User == "*" {
				found[user] = append(found[user], checked)
			}
		}
	}
	return found
}

func describe(input, output interface{}) string {
	c, r := input.(call), output.(*result)
	if r == nil {
		return fmt.Sprintf("%+v -> no answer", c)
	}
	return fmt.Sprintf("%+v -> %+v", c, *r)
}
