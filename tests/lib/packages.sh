# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
#
# install_packages FOR...: those that tests/packages lists and that are not
# there yet.  Sourced; $top is the source tree.
# shellcheck disable=SC2154
install_packages() {
	local what want=() missing=() p

	for what; do
		read -r -a p <<< "$(awk -v what="$what" '$1 == what {
			$1 = ""; printf "%s", $0 }' "$top/tests/packages")"
		want+=("${p[@]}")
	done
	for p in "${want[@]}"; do
		dpkg-query -W -f='${Status}' "$p" 2> /dev/null |
		    grep -q 'ok installed' || missing+=("$p")
	done
	[ ${#missing[@]} = 0 ] && return
	if ! command -v apt-get > /dev/null; then
		echo "no apt-get here; needed are: ${missing[*]}" >&2
		return 1
	fi
	if [ "$(id -u)" != 0 ]; then
		echo "run this as root, or: apt-get install ${missing[*]}" >&2
		return 1
	fi
	echo "installing ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	{ apt-get -q update && apt-get -q install -y --no-install-recommends \
	    "${missing[@]}"; } > "${PACKAGES_LOG:-/dev/null}" 2>&1 && return
	echo "apt-get failed${PACKAGES_LOG:+, see $PACKAGES_LOG}" >&2
	return 1
}
