# shellcheck shell=bash
# The demo; sourced by ../run.

# Stops the server the demo started and hands on how it ended.
stop_demo_server() {
  kill -TERM "$1" 2> /dev/null || true
  wait "$1"
}

# Waits until the server has written its port, or has ended.
wait_for_port() {
  local server=$1 port_file=$2 tries
  for tries in {1..600}; do
    if [[ -s $port_file ]]; then return; fi
    if ! kill -0 "$server" 2> /dev/null; then return 1; fi
    sleep 0.1
  done
  say "no port after $((tries / 10)) s"
  return 1
}

# ./run demo
#
# Starts a server on a free loopback port, with its embedded store in a temporary
# folder, replays the chapter through the attention command line, checks every
# number, draws the attention weights, and stops the server. Ends non-zero if a
# number is off.
command_demo() {
  local scratch server status=0
  require_packages build
  build_targets attention-server attention
  scratch=$(mktemp -d)
  "$(built server/attention-server)" --listen 127.0.0.1:0 \
    --port-file "$scratch/port" --store "sqlite:$scratch/weights.db" \
    > "$scratch/log" 2>&1 &
  server=$!
  # shellcheck disable=SC2064 # the values of now
  trap "kill -TERM $server 2> /dev/null || true; rm -rf '$scratch'" EXIT
  if ! wait_for_port "$server" "$scratch/port"; then
    cat "$scratch/log" >&2
    die "the server did not start"
  fi
  "$(built client/cpp/attention)" demo \
    --target "127.0.0.1:$(< "$scratch/port")" "$@" || status=$?
  echo "The demo's server ends here; ./run server starts one for commands." >&2
  if ! stop_demo_server "$server"; then
    cat "$scratch/log" >&2
    say "the server did not stop cleanly"
    status=1
  fi
  return "$status"
}
