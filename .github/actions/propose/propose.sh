#!/usr/bin/env bash
# Turns the patch in a folder into a pull request: propose.sh FOLDER.
#
# This runs with a write token, so nothing of the patch is run: git applies it to the index only, and
# nothing is pushed unless every change adds or modifies a plain file (mode 100644; a deletion has
# 000000) that ALLOWED names. The branch is named for its content: a proposal is made once, and no
# branch is ever overwritten.
set -euo pipefail

patch=$1/change.patch
readonly MAX_BYTES=2000000 BODY_BYTES=60000

if [[ ! -s $patch ]]; then
  echo "nothing has changed, so there is nothing to propose"
  exit 0
fi
if (($(stat --format=%s "$patch") > MAX_BYTES)); then
  echo "refused: the patch is larger than $MAX_BYTES bytes" >&2
  exit 1
fi

git apply --cached --whitespace=nowarn "$patch"
git diff --cached --raw -z --no-renames >"$1/changes"
while IFS=' ' read -r -d '' _ mode _ && IFS= read -r -d '' path; do
  if [[ $mode != 100644 || ! $path =~ ^($ALLOWED)$ ]]; then
    echo "refused: $path (mode $mode); allowed are plain files $ALLOWED" >&2
    exit 1
  fi
done <"$1/changes"

tree=$(git write-tree)
branch=$BRANCH-${tree:0:12}
gh auth setup-git
if git ls-remote --exit-code --heads origin "$branch" >/dev/null; then
  echo "already proposed on $branch"
  exit 0
fi
git -c user.name='github-actions[bot]' \
  -c user.email='41898282+github-actions[bot]@users.noreply.github.com' \
  commit --quiet --message "$TITLE"
git push origin "HEAD:refs/heads/$branch"
head --bytes="$BODY_BYTES" "$1/body.md" |
  gh pr create --base main --head "$branch" --title "$TITLE" --body-file -
# A push with this token starts no workflow; a dispatch does, and its checks count for the commit.
gh workflow run ci.yml --ref "$branch"
