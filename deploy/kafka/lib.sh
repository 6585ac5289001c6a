# Shared by ./run and ./tool: finds Java and makes sure that the jars are there.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name=$(basename "$0")
helper=          # a child being waited for by `await`, for a signal handler to end

note() { printf '%s: %s\n' "$name" "$*" >&2; }
die() { note "$*"; exit 1; }
usage_error() { note "$*"; note "see $name --help"; exit 2; }

# Runs a command as a child with its output on stderr. Unlike a foreground
# command it does not hold up this script's signal handlers.
await() {
  local status=0
  "$@" >&2 &
  helper=$!
  wait "$helper" || status=$?
  helper=
  return "$status"
}

# Sets `java`.
find_java() {
  java=${JAVA_HOME:+$JAVA_HOME/bin/}java
  command -v "$java" >/dev/null ||
    die "no Java found ($java): install a Java 17 (or newer) runtime and put it on PATH, or set JAVA_HOME"
}

# Sets `jars`, a folder named after pom.xml's checksum, so that an edit of
# pom.xml fetches anew and leaves brokers that run from the old jars alone. The
# folder gets its name when it is complete, so its presence is all to check.
find_jars() {
  local sum lock
  sum=$(sha256sum "$here/pom.xml")
  jars=$here/target/jars-${sum:0:12}
  [[ -d $jars ]] && return

  command -v mvn >/dev/null ||
    die "Maven (mvn) is needed once, to download Kafka's jars: install it and run this again"
  mkdir -p "$here/target"
  exec {lock}>"$here/target/lock"
  await flock "$lock" || die "cannot lock $here/target/lock"
  if [[ ! -d $jars ]]; then
    note "downloading Kafka's jars to $here/target (once)"
    rm -rf "$jars.part"
    await mvn -B -q -f "$here/pom.xml" dependency:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$jars.part" ||
      die "Maven could not download Kafka's jars; its messages are above. Check the network and Maven's settings.xml, then run this again"
    mv "$jars.part" "$jars"
    record_classes
  fi
  exec {lock}>&-
}

# Starts and stops one throw-away broker to write down, in the JVM's own format,
# the classes it loads. Later JVMs map that file and start in half the time. One
# that finds the file unfit (another Java, jars moved) goes without it by itself.
record_classes() {
  note "recording the broker's classes for quicker starts (once)"
  if await env -u KAFKA_HEAP_OPTS -u KAFKA_JVM_PERFORMANCE_OPTS -u KAFKA_OPTS "$here/run" --record "$jars.jsa.part" &&
    [[ -s $jars.jsa.part ]]; then
    mv "$jars.jsa.part" "$jars.jsa"
  else
    note "that failed; brokers will work but start more slowly"
  fi
}

# Sets `jvm`: the start of every Java command line, for a broker or a tool.
find_jvm() {
  find_java
  find_jars
  # Several options, to be split at blanks.
  # shellcheck disable=SC2206
  jvm=("$java" ${KAFKA_JVM_PERFORMANCE_OPTS:--XX:+UseSerialGC -XX:TieredStopAtLevel=1}
    -cp "$jars/*" -Djava.awt.headless=true -Dlog4j2.configurationFile="$here/log4j2.xml")
  if [[ -s $jars.jsa ]]; then
    jvm+=(-XX:SharedArchiveFile="$jars.jsa" -Xshare:auto)
  fi
}
