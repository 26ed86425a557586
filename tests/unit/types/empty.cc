// SPDX-License-Identifier: Apache-2.0
// empty.cc - another unit without anything.
