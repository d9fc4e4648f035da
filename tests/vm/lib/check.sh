# SPDX-License-Identifier: MIT
# Sourced by scenarios, at the top of the tree. `failed` is their exit status; `on_failure` is run after each failure.
failed=0 on_failure=

check() { # NAME CONDITION
	if eval "$2"; then
		echo "ok $1"
	else
		echo "not ok $1: $2"
		failed=1
		eval "$on_failure"
		false
	fi
}

is() { # NAME GOT WANTED
	if [ "$2" = "$3" ]; then
		echo "ok $1"
	else
		echo "not ok $1: got '$2', wanted '$3'"
		failed=1
		false
	fi
}
