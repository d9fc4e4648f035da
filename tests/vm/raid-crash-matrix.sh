#!/bin/bash
# SPDX-License-Identifier: MIT
# The RAID crash matrix at length: 2,750 power failures in `./test --all`, 660 otherwise (the unit test alone runs 220).
set -eu
cd "$(dirname "$0")/../.."
make -s build/unit/test_md_crash
[ "${TEST_MODE:-normal}" = all ] && cuts=250 || cuts=60
OSTROM_LOG=0 OSTROM_CUTS=$cuts build/unit/test_md_crash
