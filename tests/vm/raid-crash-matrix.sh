#!/bin/bash
# SPDX-License-Identifier: MIT
# The RAID crash matrix at length: 5,750 power failures in `./test --all`, otherwise 1,380, as the unit test alone.
set -eu
cd "$(dirname "$0")/../.."
make -s build/unit/test_md_crash
[ "${TEST_MODE:-normal}" = all ] && cuts=250 || cuts=60
OSTROM_LOG=0 OSTROM_CUTS=$cuts build/unit/test_md_crash
