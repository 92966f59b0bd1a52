#!/bin/sh
# Waits for the death of the process that started it, then ends the server in the given directory and removes both.
#
# Standard input is a pipe that the parent holds open and never writes to. However the parent ends (a normal exit,
# Ctrl-C, kill -9), the kernel closes the pipe and `cat` returns. A clean stop has removed the directory by then.
# The janitor lives in a session of its own, so the Ctrl-C that ends the parent does not reach it.
#
# usage: janitor.sh <directory>     (the server's process id is in <directory>/pid)
home=$1
cat >/dev/null

if pid=$(cat "$home/pid" 2>/dev/null) && [ -n "$pid" ]; then
  # SIGINT is the fast and orderly end for postgres and for redis-server alike.
  kill -INT "$pid" 2>/dev/null
  tries=50
  while kill -0 "$pid" 2>/dev/null && [ "$tries" -gt 0 ]; do
    sleep 0.1
    tries=$((tries - 1))
  done
  kill -KILL "$pid" 2>/dev/null
fi
rm -rf "$home"
