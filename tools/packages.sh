# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034 # the lists are read by the scripts that source this
#
# What Nightjar needs from Debian 12, and one function that installs only
# what is missing.  Sourced by ./quickstart and ./check.

# To build the nightjar binary.
build_packages=(
	gcc libc6-dev meson ninja-build pkgconf
	libssl-dev liburcu-dev
	libargon2-dev libcap-ng-dev libsqlite3-dev libjansson-dev
	libqrencode-dev libpng-dev
)

# To run the unit, fuzz and black-box tests; libwrap0 and libdlt2 are for
# Debian's mosquitto, see unpack_mosquitto.  Node, npm and Chromium are asked for
# as commands, because people often have them from elsewhere.
test_packages=(
	libcmocka-dev clang libclang-rt-14-dev llvm
	python3 python3-pytest python3-pytest-xdist python3-paho-mqtt
	libpaho-mqtt-dev mosquitto-clients openssl ca-certificates
	libwrap0 libdlt2
	softhsm2 libengine-pkcs11-openssl python3-yaml
	node:nodejs npm:npm
	chromium:chromium certutil:libnss3-tools
)

# Large ones that a few tests want, which are skipped by name without them; not
# installed by themselves.
# shellcheck disable=SC2034 # for people
optional_packages=(
	javac:openjdk-17-jdk-headless libmqtt-client-java
)

# To run ./check lint.
lint_packages=(
	clang clang-format clang-tidy cppcheck shellcheck mandoc python3
)

# missing_packages NAME...: the names that are not installed, one a line.
# COMMAND:PACKAGE is satisfied by the command, wherever it came from.
missing_packages() {
	local name status
	for name in "$@"; do
		if [[ $name == *:* ]]; then
			command -v "${name%%:*}" >/dev/null 2>&1 && continue
			name=${name#*:}
		fi
		# shellcheck disable=SC2016 # dpkg's own format, not a variable
		status=$(dpkg-query -W -f='${Status}' "$name" 2>/dev/null) || status=
		[[ $status == 'install ok installed' ]] || echo "$name"
	done
}

# install_packages NAME...: installs what is missing; says what it does.
# Returns 1 with a message when it cannot.
install_packages() {
	local -a missing=() root=() apt
	local names
	# Not by <(...): a bare root without /proc has no /dev/fd.
	names=$(missing_packages "$@")
	[[ $names ]] || return 0
	mapfile -t missing <<<"$names"

	if ! command -v apt-get >/dev/null 2>&1; then
		echo "These packages are needed, and there is no apt-get here to install them:" >&2
		echo "  ${missing[*]}" >&2
		return 1
	fi
	if ((EUID != 0)); then
		if ! command -v sudo >/dev/null 2>&1; then
			echo "These packages are missing, and installing them takes root:" >&2
			echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
			echo "Run that line as root, then run this command again." >&2
			return 1
		fi
		root=(sudo)
	fi
	# env: sudo does not pass variables on by itself.
	apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive
		apt-get -y -q -o DPkg::Lock::Timeout=120)

	echo "Installing ${#missing[@]} package(s): ${missing[*]}"
	if ! "${apt[@]}" update ||
	    ! "${apt[@]}" install --no-install-recommends "${missing[@]}"; then
		echo "apt-get could not install: ${missing[*]}" >&2
		echo "Its messages above say why; mend that and run this command again." >&2
		return 1
	fi
}

# unpack_mosquitto DIR: Debian's broker below DIR, to compare with.  It is not
# installed, because then it would be started as a service.  Returns 1 when it
# is not to be had.
unpack_mosquitto() {
	[[ -x /usr/sbin/mosquitto || -x $1/usr/sbin/mosquitto ]] && return 0
	mkdir -p "$1" || return 1
	(cd "$1" && apt-get download mosquitto && dpkg-deb -x mosquitto_*.deb .) >"$1.log" 2>&1
}

# unpack_scanners DIR: sslscan and testssl.sh below DIR, which look at the TLS
# ports from outside; tests/blackbox/test_scan.py finds them there.  Returns 1 when
# they are not to be had.
unpack_scanners() {
	[[ -x $1/usr/bin/testssl && -x $1/usr/bin/sslscan ]] && return 0
	mkdir -p "$1" || return 1
	(cd "$1" && apt-get download sslscan testssl.sh && for deb in *.deb; do
		dpkg-deb -x "$deb" . || exit 1
	done) >"$1.log" 2>&1
}
