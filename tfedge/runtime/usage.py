"""What `tfedge-infer --help` says before its options."""

from __future__ import annotations

HELP = """Answers texts or images with a model that `tfedge convert` made.

Texts, or the paths of images, are the arguments, or, without any, the lines of standard input: each
line is answered as soon as it is there, one line of output for one line of input.

`tfedge-infer index` and `tfedge-infer search` find passages of your files by their meaning: each has a
--help of its own.

\b
Examples:
  tfedge-infer --model tinybert_int8.tflite "A fine film."
  tfedge-infer --model tinybert_int8.tflite --json "Good." "Bad."
  tail -f reviews.txt | tfedge-infer --model tinybert_int8.tflite
  tfedge-infer --model tinybert_int8.tflite --jsonl --json < texts.jsonl
  tfedge-infer --model qa.tflite --context "Ada was born in London." "Where?"
  tfedge-infer --model reranker.tflite --pair "Where is Ada?" "Ada is in London."
  tfedge-infer --model nli.tflite --candidate-labels "travel, food" "A week in Rome"
  tfedge-infer --model deit_int8.tflite photo.jpg other.png
  tfedge-infer --model yolos_int8.tflite --draw found photo.jpg other.png
  tfedge-infer --model tinybert_int8.tflite --benchmark 100
  tfedge-infer --doctor --model tinybert_int8.tflite
  tfedge-infer --model tinybert_int8_edgetpu.tflite --delegate edgetpu --device usb "Good."
  tfedge-infer --model tinybert_int8.tflite -- "-5 degrees, and I loved it"

\b
Output, a line a text, by the model's task:
  text-classification   label TAB probability [TAB label TAB probability ...]
  text-multi-label      the same of all labels of at least 0.5; - where none is
  text-regression       the number; of several, label TAB number ...
  text-scoring          the score, 0 to 1
  sentence-embedding    the numbers, blanks between them; of image-feature-extraction too
  token-classification  entities: text/type [TAB text/type ...], or - where there is none; with
                        --aggregation none the word pieces: token/label token/label ...
  question-answering    answer TAB score
  --candidate-labels    as text-classification
  image-classification, image-multi-label, zero-shot-image-classification
                        as of texts; files are read by Pillow (pip install pillow), - is standard input
  object-detection      label TAB score TAB xmin,ymin,xmax,ymax [TAB ...] in pixels; - where none is
A text that cannot be answered gives the line `error TAB -` and a line on standard error that says
why; with --json it gives an object with "error". The other texts are answered all the same.

\b
Exit codes:
  0    every text was answered (SIGTERM while reading standard input: every text read so far)
  1    at least one text could not be answered, or the answers could not be written
  2    wrong options
  3    the model file is missing, empty, cut short, damaged, not made by `tfedge convert`, or crashes
       the runtime
  4    no suitable runtime or delegate, not enough memory, or the runtime lacks an operation of the
       model; with --doctor: no text can be answered, for whatever reason
  70   a fault of tfedge itself: the message names a file to report it with
  130  interrupted (Ctrl-C)
  141  the reader of the output went away
"""
