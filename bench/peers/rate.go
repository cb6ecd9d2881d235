// Copyright (c) 2026 the headgate authors
// Distributed under the Boost Software License, Version 1.0. See LICENSE.

// golang.org/x/time/rate: one limiter, and a limiter for each of a million keys in a map behind a mutex.
package main

import (
	"fmt"
	"math/rand"
	"runtime"
	"sort"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const runs = 7

func measure(name string, n int, body func(n int)) {
	body(n)
	var ns []float64
	for i := 0; i < runs; i++ {
		start := time.Now()
		body(n)
		ns = append(ns, float64(time.Since(start).Nanoseconds())/float64(n))
	}
	sort.Float64s(ns)
	fmt.Printf("{\"name\": %q, \"ns\": %.1f, \"spread\": %.1f}\n", name, ns[runs/2], ns[runs-1]-ns[0])
}

func main() {
	const million = 1000000
	one := rate.NewLimiter(1e9, 1e9)
	allow := func(n int) {
		for i := 0; i < n; i++ {
			one.Allow()
		}
	}
	measure("peer/go_x_time_rate/allow", million, allow)
	measure("peer/go_x_time_rate/allow_two_threads", million, func(n int) {
		var both sync.WaitGroup
		for t := 0; t < 2; t++ {
			both.Add(1)
			go func() { allow(n / 2); both.Done() }()
		}
		both.Wait()
	})

	var mutex sync.Mutex
	var before, after runtime.MemStats
	texts := make([]string, million)
	for i := range texts {
		texts[i] = fmt.Sprintf("key-%011d", i)
	}
	runtime.GC()
	runtime.ReadMemStats(&before)
	limiters := make(map[string]*rate.Limiter)
	for _, text := range texts {
		limiters[text] = rate.NewLimiter(1e9, 1e9)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	order := rand.Perm(million)
	measure("peer/go_x_time_rate/allow_1M_keys", million, func(n int) {
		for i := 0; i < n; i++ {
			mutex.Lock()
			limiter := limiters[texts[order[i]]]
			mutex.Unlock()
			limiter.Allow()
		}
	})
	fmt.Printf("{\"name\": \"peer/go_x_time_rate/bytes_a_key\", \"bytes\": %.1f}\n",
		float64(after.HeapAlloc-before.HeapAlloc)/million)
	runtime.KeepAlive(limiters)
}
