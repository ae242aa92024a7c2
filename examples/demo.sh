#!/bin/sh
# The whole path at laptop scale: generate people, train two runs side by side (one core each), write a report.
# When started again, it does not repeat what is done.
set -eu
dataset=datasets/demo

moefacts generate --preview 2
[ -e $dataset ] || moefacts generate --out $dataset
moefacts train -m seed=0,1 hydra/launcher=joblib run.study=demo
moefacts analyze runs/demo/dense_laptop-*
