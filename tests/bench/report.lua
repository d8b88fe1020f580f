-- Loaded by the other scripts: prints what `cargo xtask bench` reads, on one line.
-- A script that needs several requests for one answer sets `requests_per_answer`.
function done(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read
    + summary.errors.write + summary.errors.timeout
  io.write(string.format("BENCH requests=%d microseconds=%d failed=%d p50=%d p99=%d\n",
    summary.requests / (requests_per_answer or 1), summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
