#!/bin/sh
# What pip cannot install: Python 3.11 with venv, a C++ compiler, CMake, and Java.
# usage: system.sh LOG        installs what is missing; says nothing when nothing is
#        system.sh browser LOG  installs Chromium, in which the tests look at pages, if that can be done
#        system.sh python     prints the Python 3.11 to use
#        system.sh java-home  prints a JAVA_HOME, if the Java that Spark would find does not do

find_python() {
  for candidate in ${PYTHON:-python3.11 python3 /usr/bin/python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# Spark 4.0 is made for Java 17 and 21; from 23 on Hadoop's log-in fails.
java_fits() {
  major=$("$1" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
  [ "${major:-0}" -ge 17 ] && [ "$major" -lt 23 ]
}

spark_finds_java() { java_fits "${JAVA_HOME:+$JAVA_HOME/bin/}java"; }

find_java_home() {
  for home in /usr/lib/jvm/*; do
    if java_fits "$home/bin/java"; then
      echo "$home"
      return
    fi
  done
  return 1
}

missing() {
  python=$(find_python) || echo python3.11
  "${python:-false}" -c 'import ensurepip, venv' 2>/dev/null || echo python3.11-venv
  command -v g++ >/dev/null || echo g++
  command -v cmake >/dev/null || echo cmake
  spark_finds_java || find_java_home >/dev/null || echo openjdk-17-jre-headless
}

may_install() { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; }

install() { # LOG PACKAGE...
  quietly="$(dirname -- "$0")/quietly.sh $1"
  shift
  export DEBIAN_FRONTEND=noninteractive
  # $quietly is several words
  $quietly 'Refreshing the list of system packages' apt-get update || return
  $quietly "Installing $*" apt-get install -y --no-install-recommends "$@"
}

# Without it its tests are skipped, which is why nothing fails here.
install_browser() {
  for browser in chromium chromium-browser google-chrome; do
    command -v "$browser" >/dev/null && return
  done
  if may_install && install "$1" chromium; then return; fi
  echo 'No Chromium: the tests that look at pages in a browser are skipped.' >&2
}

install_missing() {
  packages=$(missing | tr '\n' ' ')
  [ -n "$packages" ] || return 0
  if [ -n "${PYTHON:-}" ] && ! find_python >/dev/null; then
    echo "PYTHON=$PYTHON is not a Python 3.11." >&2
    return 1
  fi
  if ! may_install; then
    echo "Missing on this system: $packages" >&2
    echo "Install them and call make again; on Debian 12:" >&2
    echo "  sudo apt-get install -y --no-install-recommends $packages" >&2
    return 1
  fi
  # shellcheck disable=SC2086  # packages are words
  install "$1" $packages || return
  packages=$(missing | tr '\n' ' ')
  [ -z "$packages" ] || {
    echo "Still missing after the installation: $packages" >&2
    return 1
  }
}

case $1 in
python) find_python ;;
java-home) spark_finds_java || find_java_home ;;
browser) install_browser "$2" ;;
*) install_missing "$1" ;;
esac
