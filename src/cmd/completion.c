/* SPDX-License-Identifier: Apache-2.0
 * nightjar completion: what a shell reads to complete commands and options.
 *
 * The script asks the program itself: its verbs and options are what --help
 * lists, so nothing has to be kept in step.
 */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"

static const char script[] =
    "_nightjar() {\n"
    "	local cur word help list i\n"
    "	local -a words\n"
    "	cur=${COMP_WORDS[COMP_CWORD]}\n"
    "	words=()\n"
    "	for ((i = 1; i < COMP_CWORD && i < 3; i++)); do\n"
    "		word=${COMP_WORDS[i]}\n"
    "		case $word in -*) break ;; esac\n"
    "		words+=(\"$word\")\n"
    "	done\n"
    "	help=$(nightjar \"${words[@]}\" --help 2>/dev/null)\n"
    "	case $cur in\n"
    "	-*) list=$(printf '%s\\n' \"$help\" |\n"
    "		grep -oE -- '(^|[ ,])--?[a-zA-Z][a-zA-Z0-9-]*' |\n"
    "		tr -d ' ,' | sort -u) ;;\n"
    "	*) list=$(printf '%s\\n' \"$help\" |\n"
    "		sed -nE 's/^  ([a-z][a-z0-9-]*)  *[^ ].*$/\\1/p') ;;\n"
    "	esac\n"
    "	COMPREPLY=($(compgen -W \"$list\" -- \"$cur\"))\n"
    "}\n"
    "complete -o default -F _nightjar nightjar\n";

static const char zsh[] = "autoload -U +X compinit && compinit\n"
			  "autoload -U +X bashcompinit && bashcompinit\n";

int
cmd_completion(int argc, char **argv)
{
	const char *usage =
	    "nightjar completion SHELL: what makes it complete commands and "
	    "options\n\n"
	    "  bash  in ~/.bashrc: source <(nightjar completion bash)\n"
	    "  zsh   in ~/.zshrc: source <(nightjar completion zsh)\n";

	if (argc == 2 && strcmp(argv[1], "bash") == 0) {
		printf("%s", script);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "zsh") == 0) {
		printf("%s%s", zsh, script);
		return 0;
	}
	if (argc == 2 &&
	    (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		printf("%s", usage);
		return 0;
	}
	fprintf(stderr, "%s", usage);
	return 2;
}
