# Copies pushed versions to where TF Serving looks, each whole or not at all, and removes those that are gone.
#   model-sync.sh SOURCE TARGET CONFIG            one round
#   model-sync.sh SOURCE TARGET CONFIG SECONDS    a round every so many seconds
# The model config beside the versions, which has their labels, is copied too; CONFIG stands in where there is none.
# Where SOURCE cannot be read, or has no version, nothing is changed.
set -eu
source=$1
target=$2
place=$(dirname "$target")
incoming=$place/.incoming # on the same file system, so that mv is a rename

if [ $# -gt 3 ]; then
    while true; do
        sh "$0" "$1" "$2" "$3" || echo "this round failed; the versions stay as they are" >&2
        sleep "$4"
    done
fi

rm -rf "$incoming"
mkdir -p "$incoming" "$target"
versions=$(cd "$source" && for folder in [0-9]*; do
    case $folder in *[!0-9]*) continue ;; esac
    if [ -e "$folder/saved_model.pb" ]; then echo "$folder"; fi
done)
if [ -z "$versions" ]; then
    echo "no version in $source yet"
    exit
fi
for version in $versions; do
    if [ -d "$target/$version" ]; then continue; fi
    cp -R "$source/$version" "$incoming/"
    diff -r "$source/$version" "$incoming/$version" # differs while it is still written
    sync
    mv "$incoming/$version" "$target/$version"
    echo "new version: $version"
done
config=$source/models.config
if [ ! -e "$config" ]; then config=$3; fi
sed "s|base_path:.*|base_path: \"$target\"|" "$config" >"$incoming/models.config"
mv "$incoming/models.config" "$place/models.config"
for folder in "$target"/*; do
    version=$(basename "$folder")
    if [ -d "$source/$version" ]; then continue; fi
    mv "$folder" "$incoming/$version" # at once, so that no server sees half of it
    rm -rf "${incoming:?}/$version"
    echo "removed version: $version"
done
touch "$place/.synced"
