#!/bin/sh
# One program that the oracles watch: programs.sh NAME DIRECTORY. It ends by itself after a second or two, leaves nothing outside the
# directory, and starts at most a few thousand threads, so that the report lists them all. What it prints is of no use.
set -eu
name=$1 directory=$2
cd "$directory"
PATH="$PATH:/usr/sbin:$(echo /usr/lib/postgresql/*/bin)"
python="${SCHEDSCOPE_ROOT:?}/workloads/python/lab.py" workloads="${SCHEDSCOPE_WORKLOADS:?}"

stress() {
    exec stress-ng --temp-path "$directory" --timeout 1 "$@"
}

# Servers do not like to be root.
as_nobody() {
    chown -R nobody "$directory"
    setpriv --reuid nobody --regid nogroup --clear-groups "$@"
}

# Starts a server, waits until it is ready, loads it, and stops it.
server() {
    chown -R nobody "$directory"
    setpriv --reuid nobody --regid nogroup --clear-groups "$@" > server.log 2>&1 &
    server=$!
    trap 'kill $server; wait $server || true' EXIT
    tries=0
    until ready > ready.log 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { cat server.log ready.log >&2; exit 1; }
        sleep 0.05
    done
    load
}

case $name in
    switch) stress --switch 2 --switch-ops 50000 ;;
    fork) stress --fork 2 --fork-ops 500 ;;
    vfork) stress --vfork 2 --vfork-ops 500 ;;
    clone) stress --clone 1 --clone-ops 500 ;;
    # It refuses root.
    exec) as_nobody stress-ng --temp-path "$directory" --exec 1 --exec-ops 100 --timeout 1 ;;
    futex) stress --futex 2 --futex-ops 20000 ;;
    sem) stress --sem 2 --sem-ops 20000 ;;
    mq) stress --mq 1 --mq-ops 100000 ;;
    pipe) stress --pipe 1 --pipe-ops 100000 ;;
    yield) stress --yield 2 --yield-ops 20000 ;;
    # Not stress-ng's, which gives up on newer kernels: its IORING_OP_STATX has no path.
    io-uring) exec "$workloads" io-uring --count 200 ;;
    workload-yield) exec "$workloads" yield-loop --count 5000 ;;
    sleepers) exec "$workloads" sleepers --count 16 --seconds 1 ;;
    workload-mixed) exec "$workloads" mixed --seconds 1 ;;
    workload-exec) exec "$workloads" exec-from-thread ;;
    hackbench-processes) exec hackbench --process --groups 2 --loops 500 ;;
    hackbench-threads) exec hackbench --threads --groups 2 --loops 500 --pipe ;;
    cyclictest) exec cyclictest --threads=4 --priority=10 --interval=1000 --duration=1 --quiet ;;
    perf-bench-pipe) exec perf bench sched pipe --loop 10000 ;;
    perf-bench-messaging) exec perf bench sched messaging --group 2 --nr_loops 200 --thread ;;
    python-threads) exec python3 "$python" arithmetic-threads --workers 4 --seconds 0.5 ;;
    python-processes) exec python3 "$python" arithmetic-processes-fork --workers 4 --seconds 0.5 ;;
    python-asyncio) exec python3 "$python" sleep-asyncio --workers 50 --seconds 0.5 ;;
    python-queue) exec python3 "$python" queue-threads --messages 2000 ;;
    postgresql)
        as_nobody initdb --no-sync --auth trust --username nobody data > initdb.log
        ready() { psql --host "$directory" --username nobody --command 'select 1' postgres; }
        load() {
            pgbench --host "$directory" --username nobody --initialize --quiet postgres
            pgbench --host "$directory" --username nobody --client 8 --jobs 2 --time 1 postgres
        }
        server postgres -D data -k "$directory" -c listen_addresses= -c fsync=off
        ;;
    mariadb)
        mariadb-install-db --no-defaults --datadir="$directory/data" --auth-root-authentication-method=normal > install.log
        ready() { mariadb-admin --no-defaults --socket "$directory/s" ping; }
        load() { mysqlslap --no-defaults --socket "$directory/s" --auto-generate-sql --concurrency 8 --number-of-queries 2000; }
        server mariadbd --no-defaults --datadir="$directory/data" --socket="$directory/s" --skip-networking
        ;;
    nginx)
        cat > nginx.conf << EOF
daemon off;
worker_processes 2;
pid $directory/pid;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $directory/body; proxy_temp_path $directory/proxy; fastcgi_temp_path $directory/fastcgi;
    uwsgi_temp_path $directory/uwsgi; scgi_temp_path $directory/scgi;
    server { listen unix:$directory/s; listen 127.0.0.1:${SCHEDSCOPE_PORT:?}; return 200 "hello\n"; }
}
EOF
        ready() { [ -S s ]; }
        load() { wrk --threads 2 --connections 16 --duration 1s "http://127.0.0.1:$SCHEDSCOPE_PORT/"; }
        server nginx -c "$directory/nginx.conf" -e "$directory/error.log"
        ;;
    redis)
        ready() { redis-cli -s "$directory/s" ping; }
        load() { redis-benchmark -s "$directory/s" -c 16 -n 20000 -t get,set --threads 2; }
        server redis-server --port 0 --unixsocket "$directory/s" --unixsocketperm 777 --save '' --io-threads 2
        ;;
    memcached)
        ready() { memcping --servers="127.0.0.1:${SCHEDSCOPE_PORT:?}"; }
        load() { memcslap --servers="127.0.0.1:$SCHEDSCOPE_PORT" --concurrency=8 --execute-number=1000 --test=get; }
        server memcached --listen 127.0.0.1 --port "$SCHEDSCOPE_PORT" --udp-port 0 --threads 2
        ;;
    *)
        echo "no program $name" >&2
        exit 2
        ;;
esac
