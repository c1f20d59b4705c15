"""What the editor's workflows say: the groups that node classes stand in, and each workflow's note."""

GROUPS = {
    "Models": {
        "CheckpointLoaderSimple",
        "ChoreoLoadMotionModule",
        "ChoreoLoadMotionLora",
        "ChoreoApplyDomainAdapter",
        "ChoreoApplyMotionModule",
        "ChoreoContextWindows",
        "ChoreoLoadVideoControlNet",
        "ChoreoLoadUniControlNet",
        "ChoreoLoadVideoTuning",
        "ChoreoApplyVideoTuning",
        "ChoreoSparseCausalAttention",
        "ChoreoLoadImagePromptModel",
        "CLIPVisionLoader",
        "UNETLoader",
    },
    "Clips and training": {
        "LoadVideo",
        "GetVideoComponents",
        "ChoreoSpriteWorld",
        "ImageBatch",
        "ImageAddNoise",
        "StringConcatenate",
        "VAEEncode",
        "ChoreoTrainMotionModule",
        "ChoreoTrainMotionLoras",
        "ChoreoTuneOnVideo",
        "ChoreoBuildSubjectDataSet",
        "ChoreoTrainImagePrompt",
    },
    "Keyframes": {
        "LoadImage",
        "ImageScale",
        "ImageFromBatch",
        "ImageInvert",
        "ChoreoKeyframe",
        "ChoreoKeyframesFromBatch",
        "ChoreoKeyframeTimeline",
        "ChoreoKeyframesToLatents",
        "ChoreoKeyframeGuidance",
    },
    "Control maps": {
        "MaskToImage",
        "ChoreoEdgeMaps",
        "ChoreoStabiliseMaps",
        "ChoreoInterpolateMaps",
        "ChoreoControlSequence",
    },
    "Atlas": {
        "ChoreoBuildAtlas",
        "ChoreoAtlasToImages",
        "ChoreoRenderAtlas",
        "ChoreoPropagateKeyframeEdit",
    },
    "Trajectories": {
        "ChoreoTrajectories",
        "ChoreoCameraMove",
        "ChoreoCombineTrajectories",
        "ChoreoTrajectoriesFromPoints",
        "ChoreoTrackPoints",
        "ChoreoFlowMap",
        "ChoreoExportTrajectories",
    },
    "Identity": {
        "ChoreoSubjectMask",
        "ChoreoSubjectMaskFromText",
        "ChoreoTrainIdTokens",
        "ChoreoLoadIdTokens",
        "ChoreoApplyIdTokens",
    },
    "Image prompt": {
        "ChoreoSubjectBox",
        "ChoreoEncodeImagePrompt",
        "ChoreoApplyImageAttention",
        "InvertMask",
    },
    "Prompt": {
        "CLIPTextEncode",
        "ChoreoPromptDirector",
        "ChoreoPromptWithImage",
        "ChoreoPromptSchedule",
        "ChoreoEmptyVideoLatent",
        "ChoreoApplyImageControlNet",
        "ChoreoApplyTrajectoryControlNet",
        "ChoreoApplyUniControlNet",
    },
    "Sampling": {
        "ChoreoGaussianNoisePrior",
        "ChoreoNoiseLayout",
        "ChoreoMixedNoise",
        "ChoreoNoiseAlongTracks",
        "RandomNoise",
        "ChoreoFreeInitNoise",
        "ChoreoResidualNoise",
        "ChoreoNoiseToLatent",
        "LoadLatent",
        "SaveLatent",
        "ChoreoDdimInversion",
        "ChoreoPreviousFrameSampler",
        "ChoreoAtlasGuidance",
        "ChoreoNoisePriorKSampler",
        "ChoreoFusionFeedback",
        "ChoreoCameraFreeGuider",
        "CFGGuider",
        "KSamplerSelect",
        "BasicScheduler",
        "SamplerCustomAdvanced",
        "KSamplerAdvanced",
    },
    "Second pass": {
        "ChoreoDetectFaces",
        "ChoreoTrackFaces",
        "ChoreoPreviewTracks",
        "ChoreoFacePrompt",
        "ChoreoRefineFaces",
        "UpscaleModelLoader",
        "ChoreoRefineTiles",
        "ChoreoCropVideoRegion",
        "ImageSharpen",
        "ChoreoPasteVideoRegion",
    },
    "Result": {
        "VAEDecode",
        "ChoreoFuseFrames",
        "ChoreoDeflickerVideo",
        "ChoreoFlowBlend",
        "ChoreoInterpolateKeyframes",
        "CreateVideo",
        "SaveVideo",
        "ChoreoVideoMetrics",
        "ChoreoFlowRating",
        "ChoreoFlowMapPreview",
        "ChoreoTrajectoryError",
        "PreviewAny",
        "PreviewImage",
    },
}

DEMO = """

The demo models know the sprite world: *a COLOUR SHAPE MOTION on GROUND, CAMERA*, for example *a blue
star circling on water, camera zooms in*. With your own Stable Diffusion 1.5 checkpoint and an
AnimateDiff motion module, set the size to 512x512.
"""
PUBLIC = """

Needs files that are not part of this pack: a Stable Diffusion 1.5 checkpoint in `models/checkpoints`,
and from the AnimateDiff release
"""
TEXT_TO_VIDEO = """## Text to video

Change first: the text of **Prompt**, then the **seed** of the noise. **gamma** of the noise steadies the
clip: 0 moves most, 0.4 is calm."""
LONG_VIDEO = """## A long clip

64 frames, sampled in overlapping windows of 16, so that memory stays that of a short clip.

Change first: the **Prompt schedule** (frame: text). Its **frames** and those of **Size and length** must
be the same. More **overlap** is smoother and slower."""
NOISE_PRIOR = """## The familiar KSampler, with the noise prior

Change first: **gamma**, with the same seed, and read in the report how motion (`dis_flow_mean`) and
steadiness (`warped_difference`) answer."""
NOISE_LAYOUTS = """## Other ways to share noise

Change first: the **layout**. The noise goes into the latent, for the stock *KSampler (Advanced)* with
*add_noise* disabled. **Steps** must be set as in the sampler."""
SECOND_PASS = """## A second pass over a finished clip

The first clip is noised again, and keeps of it what is coarse and slow; the second pass renews the rest
(FreeInit). Both clips are saved.

Change first: the **Prompt**, then **cutoff_time** of *FreeInit Noise*: lower is steadier."""
KEYFRAMES = """## A clip between two keyframes

The first and the last frame of a sprite-world clip are fixed; the model makes the frames between them. The
image ControlNet leads the clip to them, *Keyframe Guidance* makes it pass through them exactly.

Change first: the images of the two **Keyframe** nodes (*Load Image* instead of the sprite world, of the
clip's size) and the **Prompt**. **reach** of *Keyframe Guidance* ties more or fewer neighbours. Without a
ControlNet for your model, leave *Lead to the keyframes* out."""
KEYFRAME_LATENTS = """## Keyframes in the latent

As *keyframes_to_video*, with the keyframes in the latent and a noise mask that keeps them: any sampler,
no change to the model.

Change first: the images, then drag them and the prompt along the *Keyframe Timeline*; *Add prompt* makes
the text change with time."""
FEEDBACK = """## Fusion while sampling, and after

*Fusion Feedback* fuses the clip at half and at four fifths of sampling. Then the finished clip is fused
once more and sampled again at a low denoise, which brings back sharpness.

Change first: **percents** and **window** of *Fusion Feedback*; **denoise** of the second sampler."""
DEFLICKER = """## Remove flicker from any clip

A sprite-world clip gets noise, and loses it again. *Before* and *After* rate the motion beside the clean
clip: closer is better, lower is not.

Change first: the clip (*Load Video* and *Get Video Components* instead of the first two nodes), then
**window** of *Deflicker Video*. No model is needed."""
INTERPOLATE = """## A clip from a few finished frames

Three frames of a clip are changed (here inverted; paint over yours), and all others are made from them,
moving as the clip moves. No model is needed.

Change first: the clip, the images, and **at** of *Keyframes from Batch*, the frames where they belong."""
TRAJECTORIES = """## Draw trajectories and look at them

A drawn path, an anchor and a camera move become one flow map, shown over an image. Below, the track of a
sprite is followed through its clip, and the error measured. No model is needed.

Change first: draw in **Drawn trajectories** (its full screen has everything), then the **preset** of *Camera
Move*, and *Load Image* instead of the first frame, of any size."""
TRAIN = """## Train a motion module in the graph

Two clips with captions, ten steps: enough to see it work, not to learn.

Change first: **steps** (some hundred), and the clips: any video of 16 frames, encoded. Leave
**motion_model** open to begin afresh. A **save_prefix** keeps the module in `models/animatediff_models`.
If you cancel, the next run with the same inputs and settings goes on."""
MOTION_LORA = """## A camera move by motion LoRA

Change first: the **Prompt**, then the LoRA and its **strength**; chain several *Load Motion LoRA* to mix
moves."""
DOMAIN_ADAPTER = """## AnimateDiff v3 with its domain adapter

Change first: the **Prompt**, then the **strength** of the adapter: lower keeps more of the checkpoint's
look."""

SPARSECTRL = """## A clip that begins with an image

Change first: the image, the **Prompt**, and the image's **frame**; chain several *Keyframe* nodes to pass
through more images."""

IMAGE_TO_VIDEO = """## An image, a prompt and drawn paths

The image is the first frame. What moves along the paths is the **mode** of *Follow the trajectories*:

- **object**: draw in *Object trajectories*; a point alone is an anchor, which stays.
- **camera**: a **preset** in *Camera Move*, and empty *Object trajectories*.
- **mix**: both, with **camera_weight** and **object_weight**.

Change first: the image, the **Prompt**, the points (x and y from 0 to 1), and look at the preview.
**trajectory_scale** of *Camera-Free Guider* says how much of the mode's LoRA is added; 1 = once."""

IMAGE_TO_VIDEO_OBJECT = """## An object moves along a drawn path, the camera stays

The image is the first frame, and *Keep to the image* gives its colours to all. The star follows the path of
*Object trajectories*; the single point beside it is an anchor, which stays.

Change first: draw in *Object trajectories*, and look at the preview. The picture comes from *Sprite World*;
*Load Image* takes its place. **trajectory_scale** of *Camera-Free Guider* says how much of its LoRA is added.
*Noise* rests on the ground, so that what no path moves keeps still, and goes with the star: its **radius** is
a little more than the star's. **end_percent** of *Follow the trajectories* is 0.7, since where things go is
settled before the last steps.
Files for photographs: see *public_image_to_video_trajectory*."""
IMAGE_TO_VIDEO_CAMERA = """## The camera moves, the scene stays

The image is the first frame, and *Camera Move* says how the view goes on from it.

Change first: **preset** and **amount** of *Camera Move*; an end frame makes it stop earlier. The demo model
was trained mostly on still views and hardly follows a camera; files for photographs that do: see
*public_image_to_video_trajectory*."""
IMAGE_TO_VIDEO_BOTH = """## An object and the camera move

Both at once: the square along its path, and the view by *Camera Move*. The **mode** is mix: both LoRAs act,
by **camera_weight** and **object_weight** of *Follow the trajectories*.

Change first: the path, the **preset**, then the two weights. From **end_percent**, 0.5, on nothing is held to
the paths, which keeps the ground as it is in the image. Files for photographs: see
*public_image_to_video_trajectory*."""

TRAIN_LORAS = """## Train motion LoRAs

Trains the camera LoRA of a trajectory ControlNet on clips in which only the view moves, and the object LoRA
on a clip in which a thing moves; then makes a clip with them that follows a drawn path.

Change first: **steps** (5 here so that the graph runs in a minute; some hundreds are a start), and the clips:
*Load Video* and *Get Video Components* instead of *Sprite World*; for many, make a folder with `python dev.py
curate` and choose it as **dataset**. Set **save_prefix** to keep the net in `models/controlnet`. In mode
`camera` of *Apply Trajectory ControlNet* the view follows the path."""
TRAIN_IDENTITY = """## Learn one face, and make a clip of it

Five pictures of a sprite-world face with their masks, 25 steps: enough to see it work. Then a clip whose
prompt calls the face *embedding:me*.

Change first: the pictures (*Load Image* several times and *Batch Images*, with *Subject Mask* for the masks),
the **class_word**, and **steps**: 200 to 400. With Stable Diffusion 1.5: **size** 512, **learning_rate**
0.001, **prompt** *photo of a [id] [class]*. A **save_prefix** keeps the tokens in `models/embeddings`."""
IDENTITY = """## A clip of one identity

ID tokens from a file, called *me*; the prompt says *embedding:me* and what kind of thing it is.

Change first: the **file**, the words after *embedding:me* in **Prompt**, and **gamma**: higher is steadier
and moves less."""
VIDEO_TO_VIDEO = """## From a clip to another one

The clip is encoded and sampled again from 0.7 of the noise, with the noise prior: its motion stays, what is
seen follows the prompt.

Change first: the clip (*Load Video* and *Get Video Components*), the **Prompt**, and **denoise**: 0.4 keeps
most, 0.9 little."""
REFINE_FACES = """## Small faces, sharp

A face is followed, cut out, enlarged, sampled as a clip of its own and pasted back. The sprite world's face
is found by its mask; for people leave **mask** of *Track Faces* open, and they are detected.

Change first: the clip, the **Prompt** (ID tokens work, see *identity_to_video*), **denoise**, and with Stable
Diffusion 1.5 **guide_size** 512 and **crop_factor** 3. *Face Prompt* gives each person their own."""
EDIT_REGION = """## A part of a clip as a clip of its own

What the mask shows is followed and cut out with one size for all frames. Any nodes for images can stand
between (here *Sharpen*), then it goes back with a soft edge. No model is needed.

Change first: the clip, what is followed (**mask**, **boxes** or detected faces), and the nodes between."""
PEOPLE = """## Each face of a video with its own prompt

Faces are found and followed; the preview shows their numbers. *The first face* gives number 0 its own
prompt, all others keep the common one. Chain several for more people.

Change first: the **Video**, the two prompts, and **denoise**: 0.3 keeps
the person, 0.8 follows the prompt."""
PHOTOS = """## Learn a person from photos

The person on each photo is masked, so that clothes and rooms are not learnt. Masks by words need Grounding
DINO and SAM in your model folders; connect the ones that look better.

Change first: the photos (chain *Batch Images* for more; three to ten), the **class_word**, then **steps**.
In a prompt the tokens are *embedding:me*, see *identity_to_video*."""
REFINE_TILES = """## A clip, larger

The finished clip is enlarged by an upscaler and sampled again in tiles that agree at every step.

Change first: **scale**, **denoise** (0.2 to 0.35), and with Stable Diffusion 1.5 **tile_size** 512 and
**overlap** 64. The upscaler, `realesr-animevideov3-x4.safetensors` in `models/upscale_models`, is fetched by
`python dev.py demo`; choose any other, or delete *Load Upscale Model*: then the clip is enlarged bicubic."""

IMAGE_PROMPT = """## A clip of what a picture shows

The subject of a picture, cut out on white, is what the clip looks at while it is sampled; the prompt says
what happens. No other model is needed.

Change first: the picture (*Load Image*, and a mask that is white on the subject), the **Prompt**,
**strength** and **layers** of *Look at the picture*. With a model for image prompts the picture also stands
for a word: see *picture_for_a_word*."""
PICTURE_FOR_WORD = """## A picture that stands for a word

The prompt says *ring*; which ring, the picture says: a trained model makes the picture a word of the prompt,
and lets the clip look at it.

Change first: the picture (*Load Image*, and a mask that is white on the subject), then **text** and
**subject** of *Prompt*, a word that names what the picture shows. For public files see *public_videobooth*;
for a model of your own, *train_image_prompt*."""
DIRECTED = """## A director for the prompt

One sentence with *then* in it becomes prompts for parts of the clip. With a chat server of yours (Ollama,
llama.cpp, LM Studio: **address** of *Director*, or the settings) a language model writes them.

Change first: the **text** of *Director*. The answer is kept in the node, to be edited. **ratio** of the noise
says how much frames differ: higher changes more."""
TRAIN_PROMPT = """## Train image prompts, and use one

Coarse, then fine, four steps each on clips of the sprite world: enough to see it work, not to learn. Then a
picture stands for a word of the prompt, and the clip looks at it.

Change first: **steps** (some thousands) and **clips** (some hundreds) of both training nodes. A
**save_prefix** keeps the model in `models/image_prompt_models`."""
VIDEOBOOTH = """## VideoBooth: a picture and a sentence

The picture stands for the **subject** of the prompt, and the clip looks at it, as published.

Change first: the picture, the **Prompt** and its **subject**. Where the subject does not fill the picture,
set **source** of *Where the subject is* to `face` or `written`. For a picture with transparency around it,
put *Invert Mask* on its mask, connect that to the **mask** of both nodes behind the picture, and take
`mask`."""
TRAIN_ON_VIDEOS = """## Image prompts from your own videos

A folder of videos, each with its caption as NAME.txt: key words of the captions and a detector say what the
subjects are and where. Then two stages of training.

Change first: **videos** (the folder), **keywords** and **finder**. Faces need nothing else."""

CONTROL_MAPS = """## A clip that follows the maps of another

Edges and depth of a source clip steer the whole clip in one pass of one net. Of the edges only every fourth
map is used, and moved along the source's flow between; of the depth only the first and the last.

Change first: the clip (*Load Video* and *Get Video Components*), the **Prompt**, **mode** and **spacing** of
*Edges along the flow*. Any preprocessor's images can stand for *Depth*."""
PREVIOUS_FRAME = """## Frame by frame, without a motion module

Each frame is sampled by itself, and steered by the source's maps, by the content of the frame before, and
blended with it along the source's flow.

Change first: **mode**: *previous frame* freezes, *per frame* flickers; then **seeds** and **blend**. A stock
ControlNet for Canny edges can take the place of the Uni-ControlNet."""
TUNE = """## Tune a model on one clip, and change what is seen

Twenty steps on one clip: enough to see it work. The clip is inverted to noise by the tuned model and sampled
again with another prompt. Below, the same without tuning, by attention alone.

Change first: the clip, **steps** (300 to 500), the **Prompt**. With Stable Diffusion 1.5: **learning_rate**
0.00003, 50 **steps** of sampling, **cfg** 12.5. A **save_prefix** keeps the tuning in `models/loras`."""
TUNE_PUBLIC = """## Tune a model on a video of yours, and change what is seen

300 steps on one clip. The clip is inverted to noise by the tuned model and sampled again with another prompt.
Below, the same without tuning, by attention alone.

Both are kept: the tuning as `my_video_00001_.safetensors` in `models/loras`, the noise as
`output/my_video_00001_.latent`. Copy the latter into `input`, and *public_tuned_video* goes on from here.

Change first: the clip (*Load Video* and *Get Video Components*), its **caption** in *Tune on the clip*, and
the **Prompt**: the caption with another subject or look."""
ATLAS = """## Paint once, see it on every frame

A clip is unwrapped into pictures of its foreground and background. The ground is changed (here inverted), and
the clip is rendered again; then one frame is changed, and carried to all others. No model is needed.

Change first: the clip and its **masks**, **steps** of *Unwrap it* (600 fit best), and the edits: *Load Image*
in place of the inverted ones, or any image workflow on *Background*."""
ATLAS_GUIDANCE = """## One rigid world while sampling (experimental)

At six tenths of sampling the predicted clip is decoded, an atlas is fitted whose pictures come from the first
frames, and all frames are pulled half way to it.

Change first: **strength** and **percents** of *Atlas Guidance*, then the **Prompt**."""
TUNED = """## Go on with a tuning of another day

The tuning and the inverted clip (*SaveLatent* after *DDIM Inversion*) are read from files, and sampled with
another prompt. Both are those of *public_tune_on_video*; its `output/my_video_00001_.latent` must be copied
into `input`.

Change first: the **file**, the latent, and the **Prompt**. Steps, scheduler and strength as when it was
inverted."""

NOTES = {
    "control_maps_to_video": CONTROL_MAPS + DEMO,
    "previous_frame_control": PREVIOUS_FRAME + DEMO,
    "tune_on_video": TUNE,
    "public/tune_on_video": TUNE_PUBLIC + PUBLIC.replace(",\nand from the AnimateDiff release\n", "."),
    "edit_atlas": ATLAS,
    "atlas_guidance": ATLAS_GUIDANCE + DEMO,
    "public/tuned_video": TUNED
    + PUBLIC.replace("and from the AnimateDiff release", "and")
    + "what *Tune on Video* and *SaveLatent* have saved.",
    "image_prompt_to_video": IMAGE_PROMPT + DEMO,
    "picture_for_a_word": PICTURE_FOR_WORD + DEMO,
    "directed_prompt_to_video": DIRECTED + DEMO,
    "train_image_prompt": TRAIN_PROMPT,
    "public/videobooth": VIDEOBOOTH
    + PUBLIC.replace("a Stable Diffusion 1.5 checkpoint", "the Stable Diffusion 1.4 checkpoint").replace(
        "and from the AnimateDiff release", "and"
    )
    + "VideoBooth's UNet (models/diffusion_models) and mapper (models/image_prompt_models), and OpenAI's "
    + "CLIP ViT-L/14 (models/clip_vision).",
    "public/train_image_prompt_on_videos": TRAIN_ON_VIDEOS
    + PUBLIC
    + "`v3_sd15_mm.ckpt` (models/animatediff_models); and OpenAI's CLIP ViT-L/14 (models/clip_vision).",
    "text_to_video": TEXT_TO_VIDEO + DEMO,
    "long_video": LONG_VIDEO + DEMO,
    "noise_prior_ksampler": NOISE_PRIOR + DEMO,
    "noise_layouts": NOISE_LAYOUTS + DEMO,
    "second_pass": SECOND_PASS + DEMO,
    "train_motion_module": TRAIN,
    "train_motion_loras": TRAIN_LORAS,
    "train_identity": TRAIN_IDENTITY,
    "identity_to_video": IDENTITY + DEMO,
    "video_to_video": VIDEO_TO_VIDEO + DEMO,
    "refine_faces": REFINE_FACES,
    "refine_tiles": REFINE_TILES + DEMO,
    "edit_region": EDIT_REGION,
    "public/refine_faces_of_people": PEOPLE + PUBLIC + "`mm_sd_v15_v2.ckpt` (models/animatediff_models).",
    "public/train_identity_on_photos": PHOTOS
    + PUBLIC.replace(",\nand from the AnimateDiff release", "; for masks by words")
    + "Grounding DINO (models/grounding_dino) and SAM (models/sams) in transformers' layout.",
    "trajectory_preview": TRAJECTORIES,
    "keyframes_to_video": KEYFRAMES + DEMO,
    "image_to_video_object": IMAGE_TO_VIDEO_OBJECT + DEMO,
    "image_to_video_camera": IMAGE_TO_VIDEO_CAMERA + DEMO,
    "image_to_video_camera_and_object": IMAGE_TO_VIDEO_BOTH + DEMO,
    "keyframe_latents": KEYFRAME_LATENTS + DEMO,
    "fusion_feedback": FEEDBACK + DEMO,
    "deflicker_video": DEFLICKER,
    "interpolate_keyframes": INTERPOLATE,
    "public/motion_lora": MOTION_LORA
    + PUBLIC
    + "`mm_sd_v15_v2.ckpt` (models/animatediff_models), "
    + "`v2_lora_PanLeft.ckpt` (models/animatediff_motion_lora).",
    "public/domain_adapter": DOMAIN_ADAPTER
    + PUBLIC
    + "`v3_sd15_mm.ckpt` (models/animatediff_models), `v3_sd15_adapter.ckpt` (models/loras).",
    "public/sparsectrl_image": SPARSECTRL
    + PUBLIC
    + "`v3_sd15_mm.ckpt` (models/animatediff_models), "
    + "`v3_sd15_sparsectrl_rgb.ckpt` (models/controlnet).",
    "public/image_to_video_trajectory": IMAGE_TO_VIDEO
    + PUBLIC
    + "`v3_sd15_mm.ckpt` (models/animatediff_models); from Image Conductor's `image_controlnet.ckpt` and "
    + "`flow_controlnet.ckpt` (models/controlnet).",
}
