# Buildah, which calls the runtime itself: create, start, state, kill, delete.
# shellcheck shell=bash disable=SC2154
prepare_buildah() { :; }
# An image with only busybox. Prints the container's name.
from_scratch() {
  local container; container=$(buildah from scratch)
  buildah copy -q "$container" "$work/root/bin" /bin >&2
  echo "$container"
}
quick_run() {
  container=$(from_scratch)
  [ "$(buildah run --runtime "$binary" --network none "$container" -- /bin/echo hello)" = hello ]
  rc=0; buildah run --runtime "$binary" --network none "$container" -- /bin/sh -c 'exit 6' || rc=$?; [ $rc = 6 ]
  buildah rm "$container"
}
full_terminal() {
  container=$(from_scratch)
  on_terminal buildah run -t --runtime "$binary" --network none "$container" -- /bin/tty | grep /dev/pts
  buildah rm "$container"
}
full_volume_and_user() {
  container=$(from_scratch); mkdir -p /tmp/bv; echo x >/tmp/bv/f
  buildah run --runtime "$binary" --network none -v /tmp/bv:/v:ro --user 1000 "$container" -- /bin/cat /v/f
  buildah rm "$container"
}
full_commit() {
  container=$(from_scratch)
  buildah run --runtime "$binary" --network none "$container" -- /bin/touch /made
  buildah commit -q "$container" localhost/made-by-buildah
  buildah rm "$container"
  podman run --rm --network none localhost/made-by-buildah /bin/ls /made
}
