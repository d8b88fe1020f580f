-- Loaded by the other scripts: prints what `cargo xtask bench` reads, on one line.
function done(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout
  io.write(string.format("BENCH requests=%d microseconds=%d failed=%d p50=%d p99=%d\n",
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
