#!/bin/sh
# The whole path at laptop size: people, two training runs side by side (one core each), a report.
# Started again, it redoes nothing that is done.
set -eu
dataset=datasets/demo

moefacts generate --preview 2
[ -e $dataset ] || moefacts generate --out $dataset
moefacts train -m seed=0,1 hydra/launcher=joblib run.study=demo
moefacts analyze runs/demo/dense_laptop-*
