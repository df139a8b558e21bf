# Before the head's Pod stops. Without Redis its workers die with it: they leave first, each with its shot or by
# handing it back. Where Ray does not answer, they are told by their own Pods, and need the head until then.
farm leave --cluster --within "$DRAIN_SECONDS" || sleep "$((DRAIN_SECONDS + 10))"
