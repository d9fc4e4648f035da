# Completion for ostrom in bash: `. tools/completion/ostrom.bash`. Words come from the program's own help, so they are those of
# the installed version. Under a link named perf: `complete -F _ostrom perf`.
_ostrom() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} sub=${COMP_WORDS[1]:-} verb=() words
	COMPREPLY=()
	if [ "$COMP_CWORD" = 1 ]; then
		words=$("${COMP_WORDS[0]}" help 2> /dev/null | awk '/^  [a-z]/ { print $1 }')
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		return
	fi
	case $sub in c2c) words="record report" ;; sched) words="record timehist" ;; *) words= ;; esac
	if [ -n "$words" ] && [ "$COMP_CWORD" = 2 ] && [[ $cur != -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
		return
	fi
	[ -n "$words" ] && verb=("${COMP_WORDS[2]}")
	case $prev in
	-s | --sort) mapfile -t COMPREPLY < <(compgen -W "comm dso sym comm,dso comm,dso,sym" -- "$cur"); return ;;
	-d | --display) mapfile -t COMPREPLY < <(compgen -W "tot lcl rmt" -- "$cur"); return ;;
	esac
	if [[ $cur == -* ]]; then
		words=$("${COMP_WORDS[0]}" "$sub" "${verb[@]}" --help 2> /dev/null | grep -oE -- '(^|[ ,])--?[a-zA-Z][a-z-]*' | tr -d ' ,')
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
}
complete -o filenames -F _ostrom ostrom
