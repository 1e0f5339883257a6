#!/usr/bin/env bash
# Install Coursebell on this machine as a systemd service, or upgrade it. Run this script as root
# from a checkout of the source, which is not needed afterwards:
#
#     sudo deploy/install.sh                # everything on one machine, as `coursebell up`; later, an upgrade
#     sudo deploy/install.sh web worker     # only these processes, with your own database and broker
#
# The first run writes /etc/coursebell/env for you to fill in. Every later run is an upgrade: it
# installs beside the running version, checks the settings, stops Coursebell, backs up the ledger
# to /var/lib/coursebell/backups, migrates the ledger, and starts the new version.
#
#   PYTHON  the Python to use, 3.11 or newer (default: python3)
#   OWNER   the user that Coursebell runs as (default: coursebell; created if missing)
#   ROOT    a folder to install into instead of /, to test this script; systemd is then not used
set -euo pipefail

PYTHON=${PYTHON:-python3}
OWNER=${OWNER:-coursebell}
ROOT=${ROOT:+$(realpath -m "$ROOT")}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PREFIX=$ROOT/opt/coursebell
SETTINGS=$ROOT/etc/coursebell/env
STATE=$ROOT/var/lib/coursebell
UNITS=$ROOT/etc/systemd/system

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}
is_root() { [ "$(id -u)" = 0 ]; }
is_owner() { [ "$(id -un)" = "$OWNER" ]; }
has_systemd() { [ -z "$ROOT" ] && [ -d /run/systemd/system ]; }

# Run a command as the owner, with the settings and no other variable of this environment.
as_owner() {
  local change=()
  is_owner || change=(runuser -u "$OWNER" --)
  # shellcheck disable=SC2016  # the inner shell expands these
  (cd / && env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 HOME="$STATE" COURSEBELL_DATA_DIR="$STATE" \
    "${change[@]}" sh -c 'set -a; . "$1"; set +a; shift; cd "$HOME"; exec "$@"' sh "$SETTINGS" "$@")
}

check_machine() {
  is_root || { [ -n "$ROOT" ] && is_owner; } || fail "Installing needs root: sudo deploy/install.sh"
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null \
    || fail "Coursebell needs Python 3.11 or newer, and $PYTHON is not. Choose another: PYTHON=/path/to/python3 deploy/install.sh"
  "$PYTHON" -c 'import ensurepip, venv' 2> /dev/null \
    || fail "$PYTHON cannot create environments. Install its venv module: apt-get install python3-venv"
}

# The unit hides home folders from the service, and other users cannot read them.
check_python_is_shared() {
  local home
  home=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(sys.base_prefix))')
  if [ -z "$ROOT" ] && [[ $home =~ ^/(home|root|run/user)(/|$) ]]; then
    fail "$PYTHON is in a home folder, where a service cannot use it. Choose another: PYTHON=/usr/bin/python3 deploy/install.sh"
  fi
}

name_units() {
  units=()
  local part
  for part in "$@"; do
    case $part in
      web | worker | clock) units+=("coursebell-$part") ;;
      *) fail "There is no process $part. Name some of web, worker and clock, or none for all of them on this machine." ;;
    esac
  done
  # Without names, upgrade what is installed.
  if [ "${#units[@]}" = 0 ]; then
    for part in coursebell coursebell-web coursebell-worker coursebell-clock; do
      [ ! -e "$UNITS/$part.service" ] || units+=("$part")
    done
  fi
  [ "${#units[@]}" -gt 0 ] || units=(coursebell)
}

make_user_and_folders() {
  if ! id -u "$OWNER" > /dev/null 2>&1; then
    useradd --system --user-group --home-dir "$STATE" --shell /usr/sbin/nologin "$OWNER"
  fi
  install -d -m 0755 "$PREFIX" "$UNITS"
  install -d -m 0750 "$(dirname "$SETTINGS")"
  install -d -m 0700 "$STATE"
  if is_root; then
    chown "root:$(id -gn "$OWNER")" "$(dirname "$SETTINGS")"
    chown "$OWNER:" "$STATE"
  fi
}

# An environment cannot be moved, so each version is built in its final place, behind a link.
build_environment() {
  new=$PREFIX/env-$(date -u +%Y%m%dT%H%M%SZ)-$$
  trap 'rm -rf "$new"' EXIT
  say "Installing into $new"
  "$PYTHON" -m venv "$new"
  local pip=("$new/bin/python" -m pip --disable-pip-version-check)
  "${pip[@]}" install --quiet --no-deps --require-hashes -r deploy/requirements.lock
  "${pip[@]}" install --quiet --no-deps --no-build-isolation .
  "${pip[@]}" check
}

write_settings() {
  first_time=no
  [ -e "$SETTINGS" ] && return
  first_time=yes
  env -i PATH=/usr/bin:/bin LANG=C.UTF-8 COURSEBELL_DATA_DIR="$STATE" "$new/bin/coursebell" init "$SETTINGS" 2> /dev/null
  chmod 640 "$SETTINGS"
  if is_root; then
    chown "root:$(id -gn "$OWNER")" "$SETTINGS"
  fi
}

# Runs early with the installed version, and later with the new one, which may check more.
check_settings() {
  as_owner "$1/bin/coursebell" config show > /dev/null \
    || fail "Correct $SETTINGS as the message above says, then run this script again. The installed version is unchanged."
}

install_units() {
  local unit
  for unit in "${units[@]}"; do
    sed -E -e "s#/(opt|etc|var/lib)/coursebell#$ROOT&#g" -e "s#^(User|Group)=coursebell#\1=$OWNER#" \
      "deploy/systemd/$unit.service" > "$UNITS/$unit.service"
    chmod 644 "$UNITS/$unit.service"
  done
  if has_systemd; then
    systemctl daemon-reload
    systemctl --quiet enable "${units[@]}"
  fi
}

# Uses the installed version, because the new one does not read a ledger that is not migrated.
back_up() {
  local installed=$PREFIX/.venv/bin/coursebell status=0
  [ -x "$installed" ] || return 0
  if ! "$installed" backup --help > /dev/null 2>&1; then
    say "No backup was made: the installed version has no command for it."
    return 0
  fi
  as_owner mkdir -p -m 700 "$STATE/backups"
  as_owner "$installed" backup "$STATE/backups" >&2 || status=$?
  if [ "$status" = 2 ]; then
    say "No backup was made, for the reason above."
  elif [ "$status" != 0 ]; then
    say "The backup failed, so nothing was upgraded and the installed version stays."
    start_units
    exit 1
  fi
}

# The running version is stopped from here on, and started again if anything fails.
change_over() {
  if has_systemd; then
    systemctl stop "${units[@]}"
  fi
  back_up
  as_owner "$new/bin/coursebell" migrate >&2 || {
    say "The migration failed, so the installed version stays."
    start_units
    exit 1
  }
  # Earlier instructions created a folder here, and mv would put the link into it.
  if [ -d "$PREFIX/.venv" ] && [ ! -L "$PREFIX/.venv" ]; then
    rm -rf "$PREFIX/.venv"
  fi
  ln -s "$new" "$PREFIX/.venv.$$"
  mv -T "$PREFIX/.venv.$$" "$PREFIX/.venv"
  trap - EXIT
}

start_units() {
  if has_systemd && [ "$first_time" = no ] && [ -e "$PREFIX/.venv" ]; then
    systemctl start "${units[@]}"
    sleep 5  # long enough for a wrong setting or a port in use to stop it
    systemctl --quiet is-active "${units[@]}" \
      || fail "Coursebell started and did not stay up. For the reason, run: journalctl -u ${units[0]}"
  fi
}

# Keep the previous one, so that a process which still runs from it finds its files.
remove_old_environments() {
  local old
  # shellcheck disable=SC2012  # this script chose these names
  ls -d "$PREFIX"/env-* | sort | head -n -2 | while read -r old; do rm -rf "$old"; done
}

say_what_next() {
  local command
  command="sudo -u $OWNER sh -c 'set -a; . $SETTINGS; cd; $PREFIX/.venv/bin/coursebell"
  say "Installed: $("$PREFIX/.venv/bin/coursebell" --version)"
  if [ "$first_time" = yes ]; then
    say "Next: fill in $SETTINGS, then start it:"
  elif has_systemd; then
    say "Started. To see its state: $command status'"
    return
  else
    say "systemd is not running here. Restart Coursebell yourself:"
  fi
  if has_systemd; then
    say "  systemctl start ${units[*]}"
  else
    local unit
    for unit in "${units[@]}"; do
      say "  $command $(sed -n 's/^ExecStart=.*coursebell //p' "$UNITS/$unit.service")'"
    done
  fi
}

check_machine
check_python_is_shared
name_units "$@"
make_user_and_folders
if [ -e "$PREFIX/.venv" ] && [ -e "$SETTINGS" ]; then
  check_settings "$PREFIX/.venv"
fi
build_environment
write_settings
check_settings "$new"
install_units
change_over
start_units
remove_old_environments
say_what_next
