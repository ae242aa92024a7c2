#!/bin/sh
# The whole path at laptop size: people, two training runs side by side (one core each), a report.
set -eu
out=runs/demo

moefacts generate --preview 1
if [ ! -d datasets/demo ]; then
    moefacts generate --out datasets/demo
fi
moefacts train -m seed=0,1 hydra/launcher=joblib run.study=demo
moefacts analyze $out/*-seed0-* $out/*-seed1-*
