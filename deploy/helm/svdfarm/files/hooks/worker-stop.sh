# Before a worker's Pod stops. Its workers leave, each with its shot or by handing it back, which needs no
# gateway; meanwhile Ray is told that the node goes, so that Serve puts no others in their place.
farm leave --within "$DRAIN_SECONDS" &
timeout 20 ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message "the Pod ends" \
  --deadline-remaining-seconds "$((DRAIN_SECONDS + 10))"
wait
