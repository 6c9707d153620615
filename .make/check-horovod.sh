#!/bin/sh
# A Horovod that was built against another TensorFlow installs without a word: ask it.
# (Its tick for PyTorch means nothing: it is there without PyTorch, too.)
# usage: check-horovod.sh DIRECTORY_OF_HOROVODRUN
found=$("$1/horovodrun" --check-build 2>/dev/null)
echo "$found"
for part in TensorFlow Gloo; do
  echo "$found" | grep -q "\[X\] $part" || {
    echo "Horovod was built without $part, or against another TensorFlow."
    exit 1
  }
done
