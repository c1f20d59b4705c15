"""The experiments of each paper, and the rows that look at them."""

from . import ccdm, conductor, control, image_prompt, vcd

ROOMS = (ccdm, vcd, conductor, image_prompt, control)
EXPERIMENTS = {one.name: one for room in ROOMS for one in room.EXPERIMENTS}
ROWS = tuple(row for room in ROOMS for row in room.ROWS)
PAPERS = {
    "CCDM": "Generating Video with Conditional Control Diffusion Model",
    "VCD": "Magic-Me: Identity-Specific Video Customized Diffusion",
    "Image Conductor": "Image Conductor: Precision Control for Interactive Video Synthesis",
    "Image prompts": "Diffusion Models for Dynamic Video Synthesis with Image and Text Prompts Guidance",
    "Investigation": "Investigation of Methods to Improve Generative Video Consistency and Control",
}
