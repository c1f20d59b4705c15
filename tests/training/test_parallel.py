"""Two processes train one model: what `accelerate launch` does, with the variables that it sets."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from torch.nn import Linear

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, sys
from pathlib import Path
import torch
from torch.nn import Linear
from core.training.loop import Plan, Trainer

torch.manual_seed(0)
model = torch.nn.ModuleDict({"used": Linear(4, 1), "seldom": Linear(4, 1)})

def loss(step, generator):
    x = torch.randn(8, 4, generator=generator)
    first = sys.argv[2] == "0"
    part = model["used"] if first or step % 2 else model["seldom"]  # ranks differ in what they use
    return (part(x) - x.sum(1, keepdim=True)).square().mean()

plan = Plan(steps=6, folder=Path(sys.argv[1]), learning_rate=0.05, warmup=1)
Trainer({"model": model}, loss, plan, progress=lambda *a: None).run()
torch.distributed.barrier()
torch.distributed.destroy_process_group()
print(json.dumps([p.detach().flatten().tolist() for p in model.parameters()]))
"""


def test_processes_end_with_the_same_weights_and_one_checkpoint(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path), str(rank)],
            cwd=ROOT,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    weights = [json.loads(run.communicate(timeout=120)[0].splitlines()[-1]) for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert weights[0] == weights[1]
    torch.manual_seed(0)
    start = torch.nn.ModuleDict({"used": Linear(4, 1), "seldom": Linear(4, 1)})
    moved = [
        (p.detach().flatten() - torch.tensor(w)).abs().max().item()
        for p, w in zip(start.parameters(), weights[0], strict=True)
    ]
    assert min(moved) > 1e-3  # also the part that only the second process used
    assert [path.name for path in tmp_path.glob("*.pt")] == ["checkpoint.pt"]
