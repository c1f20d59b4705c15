"""A director for prompts: one sentence becomes a richer one, or a schedule for the clip."""

from comfy_api.latest import io

from ..core.prompts.director import EXAMPLE, TASKS, Task
from .host.director import directed
from .inputs import choice_input, seed_input, text_input

CATEGORY = "Choreographer/Prompts"


def _server() -> list:
    return [
        text_input(
            "address",
            "A chat server that speaks OpenAI's protocol, such as http://127.0.0.1:11434/v1 (Ollama). Empty "
            "= the one in the settings; with none there, the text is divided by rules.",
        ),
        text_input(
            "model", "Name of the model there. Empty = the one in the settings, or the server's first."
        ),
        text_input(
            "key_variable",
            "Environment variable with the server's key; its name begins with CHOREO_. The key itself is "
            "never part of a workflow, and is sent only to the address in the settings or to this machine. "
            "Empty = no key.",
        ),
        io.Float.Input(
            "timeout",
            default=60.0,
            min=1.0,
            max=600.0,
            step=1.0,
            optional=True,
            tooltip="Seconds after which an answer is no longer waited for.",
        ),
    ]


class PromptDirector(io.ComfyNode):
    """A prompt made richer, or divided over a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoPromptDirector",
            display_name="Prompt Director",
            category=CATEGORY,
            is_output_node=True,
            description="Asks a language model of yours to write the prompts of a clip: one richer prompt, "
            "or several that follow each other. The result is text for 'Prompt Schedule', kept in the node "
            "to be edited. Nothing is asked unless this node is queued.",
            inputs=[
                io.String.Input(
                    "text",
                    default="a red ball rolls over grass, then it jumps, then it lies still",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="What happens in the clip, in your words. Without a server it is divided at "
                    "'then', ';' and new lines.",
                ),
                choice_input(
                    "task",
                    TASKS,
                    "refine: one richer prompt. decompose: several prompts, evenly over the clip.",
                    default=TASKS[1],
                ),
                io.Int.Input(
                    "keys", default=4, min=2, max=64, tooltip="Only for decompose: how many prompts."
                ),
                seed_input(
                    "Another seed asks for another answer. The same inputs keep the answer there is.",
                    advance=False,
                ),
                io.String.Input(
                    "example",
                    default=EXAMPLE,
                    multiline=True,
                    optional=True,
                    tooltip="A prompt in the manner that you want.",
                ),
                *_server(),
                text_input(
                    "answer",
                    "The schedule, written here when the director has answered; edit it as you like. Take "
                    "its first line away to keep it whatever else changes; empty it to ask again.",
                    multiline=True,
                ),
            ],
            outputs=[
                io.String.Output(display_name="schedule", tooltip="Text for 'Prompt Schedule'."),
                io.String.Output(display_name="report", tooltip="Who wrote it: the model, rules, or you."),
            ],
        )

    @classmethod
    def execute(
        cls,
        text,
        task,
        keys,
        seed,
        example="",
        address="",
        model="",
        key_variable="",
        timeout=60.0,
        answer="",
    ) -> io.NodeOutput:
        """Ask, or take what is there."""
        schedule, report = directed(
            Task(text, task, keys, example), seed, (address, model, key_variable, timeout), answer
        )
        # `given`: what was edited while it ran is not written over
        return io.NodeOutput(schedule, report, ui={"text": (schedule,), "given": (answer,)})


NODES = [PromptDirector]
