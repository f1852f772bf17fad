package main

import (
	"slices"
	"time"
)

// summary is what one run found: rates within the window, percentiles over every answer.
type summary struct {
	Requests       int                `json:"requests"`
	Errors         int                `json:"errors"`
	FirstError     string             `json:"first_error"`
	RequestsPerSec float64            `json:"requests_per_second"`
	PiecesPerSec   float64            `json:"pieces_per_second"`
	Latency        map[string]float64 `json:"latency_ms"`
	FirstText      map[string]float64 `json:"first_text_ms"`
}

func summarise(asked options, clients []*client) summary {
	var latency, first []time.Duration
	var answers, received int
	var found summary
	for _, c := range clients {
		latency, first = append(latency, c.latency...), append(first, c.first...)
		answers, received = answers+c.answers, received+c.received
		found.Errors += c.errors
		if found.FirstError == "" {
			found.FirstError = c.failure
		}
	}
	seconds := (asked.duration - asked.ramp).Seconds()
	found.Requests = len(latency)
	found.RequestsPerSec = float64(answers) / seconds
	found.PiecesPerSec = float64(received) / seconds
	found.Latency, found.FirstText = percentiles(latency), percentiles(first)
	return found
}

// percentiles in milliseconds, by nearest rank; none when nothing was measured.
func percentiles(samples []time.Duration) map[string]float64 {
	if len(samples) == 0 {
		return map[string]float64{}
	}
	slices.Sort(samples)
	at := func(part float64) float64 {
		return float64(samples[int(part*float64(len(samples)-1))]) / float64(time.Millisecond)
	}
	return map[string]float64{"p50": at(0.50), "p90": at(0.90), "p99": at(0.99), "max": at(1)}
}
