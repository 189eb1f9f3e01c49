-- SPDX-License-Identifier: Apache-2.0
--
-- Tetrad's database, version 4: how a run diverged, besides the sentence in run.reason.

ALTER TABLE run ADD COLUMN divergence TEXT; -- canonical JSON object: step, tensor, ...; NULL: it did not
