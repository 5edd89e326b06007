# Copies pushed versions atomically to the folder of TF Serving, and removes deleted ones.
#   model-sync.sh SOURCE TARGET CONFIG            one round
#   model-sync.sh SOURCE TARGET CONFIG SECONDS    a round every SECONDS seconds
# The models.config in SOURCE, which has the labels of versions, is copied too; CONFIG is its default.
# If SOURCE cannot be read, or has no version, nothing is changed.
set -eu
source=$1
target=$2
parent=$(dirname "$target")
incoming=$parent/.incoming # on the same file system, so mv is atomic

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
    diff -r "$source/$version" "$incoming/$version" # fails while the version is being written
    sync
    mv "$incoming/$version" "$target/$version"
    echo "new version: $version"
done
config=$source/models.config
if [ ! -e "$config" ]; then config=$3; fi
sed "s|base_path:.*|base_path: \"$target\"|" "$config" >"$incoming/models.config"
mv "$incoming/models.config" "$parent/models.config"
for folder in "$target"/*; do
    version=$(basename "$folder")
    if [ -d "$source/$version" ]; then continue; fi
    mv "$folder" "$incoming/$version" # atomic, so the server sees no incomplete version
    rm -rf "${incoming:?}/$version"
    echo "removed version: $version"
done
touch "$parent/.synced"
