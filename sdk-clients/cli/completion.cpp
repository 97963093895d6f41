#include "sdk-clients/cli/completion.h"

#include <fmt/format.h>

namespace cli {
namespace {

// The words before the cursor, without options, choose the list: "session run" → its flags.
std::string bash_script(const std::vector<CommandWords>& commands) {
  std::string cases;
  for (const auto& command : commands)
    cases += fmt::format(
        "    \"{}\") words=\"{}\" ;;\n", fmt::join(command.path, " "),
        fmt::join(command.words, " "));
  return "# sonde completion bash > /etc/bash_completion.d/sonde\n"
         "_sonde() {\n"
         "  local current=\"${COMP_WORDS[COMP_CWORD]}\" path=\"\" words=\"\" word i\n"
         "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "    word=\"${COMP_WORDS[i]}\"\n"
         "    [[ \"$word\" == -* ]] && continue\n"
         "    path=\"${path:+$path }$word\"\n"
         "  done\n"
         "  while :; do\n"
         "    case \"$path\" in\n" +
         cases +
         // An id or a value: what stood before it decides.
         "    *\" \"*) path=\"${path% *}\"; continue ;;\n"
         "    *) path=\"\"; continue ;;\n"
         "    esac\n"
         "    break\n"
         "  done\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "  [[ ${#COMPREPLY[@]} -eq 0 ]] && COMPREPLY=($(compgen -f -- \"$current\"))\n"
         "}\n"
         "complete -F _sonde sonde\n";
}

std::string zsh_script(const std::vector<CommandWords>& commands) {
  return "#compdef sonde\n# sonde completion zsh > \"${fpath[1]}/_sonde\"\n"
         "autoload -U +X bashcompinit && bashcompinit\n" +
         bash_script(commands);
}

std::string fish_script(const std::vector<CommandWords>& commands) {
  std::string text =
      "# sonde completion fish > ~/.config/fish/completions/sonde.fish\ncomplete -c sonde -f\n";
  for (const auto& command : commands) {
    std::string condition = command.path.empty() ? "__fish_use_subcommand" : "";
    for (const auto& word : command.path)
      condition +=
          fmt::format("{}__fish_seen_subcommand_from {}", condition.empty() ? "" : "; and ", word);
    for (const auto& word : command.words)
      text += word.starts_with("--")
                  ? fmt::format("complete -c sonde -n '{}' -l {}\n", condition, word.substr(2))
                  : fmt::format("complete -c sonde -n '{}' -a {}\n", condition, word);
  }
  return text;
}

} // namespace

base::Result<std::string>
completion_script(const std::string& shell, const std::vector<CommandWords>& commands) {
  if (shell == "bash") return bash_script(commands);
  if (shell == "zsh") return zsh_script(commands);
  if (shell == "fish") return fish_script(commands);
  return base::invalid_argument(
      "USAGE", "completion knows bash, zsh and fish, not \"" + shell + "\"");
}

} // namespace cli
